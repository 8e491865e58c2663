// A libcuda.so.1 for Triton and torch that computes nothing: launches are counted by the runtime beside it.
#include <cuda.h>
#include <cstring>
#include <cstdio>
#include <dlfcn.h>
#include <map>
#include <string>
#define API extern "C" __attribute__((visibility("default")))
static void note(const char* n, void* s) {
  static auto f = (void (*)(const char*, void*))dlsym(RTLD_DEFAULT, "nullcuda_note");
  if (f) f(n, s);
}
static std::map<void*, std::string> fn;
static long tok = 0x100000;
API CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
API CUresult cuDriverGetVersion(int* v) {
  *v = 13020;
  return CUDA_SUCCESS;
}
API CUresult cuDeviceGetCount(int* c) {
  *c = 1;
  return CUDA_SUCCESS;
}
API CUresult cuDeviceGet(CUdevice* d, int) {
  *d = 0;
  return CUDA_SUCCESS;
}
API CUresult cuDeviceGetAttribute(int* v, CUdevice_attribute a, CUdevice) {
  switch ((int)a) {
    case 1:
      *v = 1024;
      break;
    case 10:
      *v = 32;
      break;
    case 16:
      *v = 132;
      break;
    case 39:
      *v = 2048;
      break;
    case 75:
      *v = 9;
      break;
    case 76:
      *v = 0;
      break;
    case 97:
      *v = 232448;
      break;
    case 8:
      *v = 49152;
      break;
    case 81:
      *v = 233472;
      break;
    case 12:
    case 82:
      *v = 65536;
      break;
    case 13:
      *v = 1980000;
      break;
    case 36:
      *v = 3201000;
      break;
    case 37:
      *v = 6144;
      break;
    case 38:
      *v = 62914560;
      break;
    default:
      *v = 1;
  }
  return CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned* f, int* a) {
  *f = 0;
  *a = 1;
  return CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxRetain(CUcontext* c, CUdevice) {
  *c = (CUcontext)8;
  return CUDA_SUCCESS;
}
API CUresult cuDevicePrimaryCtxRelease(CUdevice) { return CUDA_SUCCESS; }
API CUresult cuCtxGetCurrent(CUcontext* c) {
  *c = (CUcontext)8;
  return CUDA_SUCCESS;
}
API CUresult cuCtxSetCurrent(CUcontext) { return CUDA_SUCCESS; }
API CUresult cuCtxGetDevice(CUdevice* d) {
  *d = 0;
  return CUDA_SUCCESS;
}
API CUresult cuCtxGetLimit(size_t* l, CUlimit) {
  *l = 0;
  return CUDA_SUCCESS;
}
API CUresult cuCtxSetLimit(CUlimit, size_t) { return CUDA_SUCCESS; }
API CUresult cuModuleLoadData(CUmodule* m, const void*) {
  *m = (CUmodule)(tok += 16);
  return CUDA_SUCCESS;
}
API CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
API CUresult cuModuleGetFunction(CUfunction* f, CUmodule, const char* n) {
  *f = (CUfunction)(tok += 16);
  fn[*f] = n;
  return CUDA_SUCCESS;
}
API CUresult cuModuleGetGlobal_v2(CUdeviceptr* p, size_t* n, CUmodule, const char*) {
  *p = 0;
  *n = 0;
  return CUDA_ERROR_NOT_FOUND;
}
API CUresult cuFuncGetAttribute(int* v, CUfunction_attribute a, CUfunction) {
  *v = a == CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK ? 1024 : a == CU_FUNC_ATTRIBUTE_NUM_REGS ? 32 : 0;
  return CUDA_SUCCESS;
}
API CUresult cuFuncSetAttribute(CUfunction, CUfunction_attribute, int) { return CUDA_SUCCESS; }
API CUresult cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }
API CUresult cuLaunchKernel(CUfunction f, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                            CUstream s, void**, void**) {
  note(("triton " + fn[f]).c_str(), s);
  return CUDA_SUCCESS;
}
API CUresult cuLaunchKernelEx(const CUlaunchConfig* c, CUfunction f, void**, void**) {
  note(("triton " + fn[f]).c_str(), c->hStream);
  return CUDA_SUCCESS;
}
API CUresult cuGetErrorString(CUresult, const char** s) {
  *s = "null";
  return CUDA_SUCCESS;
}
API CUresult cuGetErrorName(CUresult, const char** s) {
  *s = "null";
  return CUDA_SUCCESS;
}
API CUresult cuPointerGetAttribute(void* d, CUpointer_attribute, CUdeviceptr p) {
  *(CUdeviceptr*)d = p;
  return CUDA_SUCCESS;
}
API CUresult cuStreamIsCapturing(CUstream s, CUstreamCaptureStatus* st) {
  static auto f = (int (*)(void*))dlsym(RTLD_DEFAULT, "nullcuda_capturing");
  *st = f && f(s) ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
  return CUDA_SUCCESS;
}
API CUresult cuOccupancyMaxActiveClusters(int* n, CUfunction, const CUlaunchConfig*) {
  *n = 1;
  return CUDA_SUCCESS;
}

API CUresult cuMemGetInfo_v2(size_t* f, size_t* t) {
  *f = *t = 143771ull << 20;
  return CUDA_SUCCESS;
}
API CUresult cuModuleLoad(CUmodule* m, const char*) {
  *m = (CUmodule)(tok += 16);
  return CUDA_SUCCESS;
}
API CUresult cuModuleLoadDataEx(CUmodule* m, const void*, unsigned, CUjit_option*, void**) {
  *m = (CUmodule)(tok += 16);
  return CUDA_SUCCESS;
}
API CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                                       unsigned, CUstream s, void**) {
  note(("triton " + fn[f]).c_str(), s);
  return CUDA_SUCCESS;
}
API CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, CUfunction, int, size_t) {
  *n = 4;
  return CUDA_SUCCESS;
}
