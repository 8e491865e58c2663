// A CUDA runtime and cuBLAS that compute nothing and count everything, to be loaded in the place of the real ones
// (LD_PRELOAD). Memory is zeroed memory of the host, kernels are names that are counted, streams and events are numbers.
// What a capture forbids is refused as CUDA refuses it, with error 900, and counted as a violation.
#include <cuda_runtime_api.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <set>
#include <string>
#include <mutex>
#define API extern "C" __attribute__((visibility("default")))
static std::recursive_mutex mu;
static std::map<const void*, std::string> names;
static std::map<std::string, long> launches, captured;
static std::set<cudaStream_t> capturing;  // streams in capture
static std::map<cudaEvent_t, bool> event_captured;
static std::map<void*, size_t> blocks;
static size_t used = 0, peak = 0, total = 143771ull << 20;
static long n_launch = 0, n_captured = 0, n_sync = 0, n_h2d = 0, n_d2h = 0, n_graph = 0, n_violation = 0, n_outside = 0;
static size_t b_h2d = 0, b_d2h = 0;
static thread_local cudaError_t last = cudaSuccess;
static cudaError_t fail(cudaError_t e, const char* what) {
  last = e;
  n_violation++;
  if (getenv("NULLCUDA_TRACE")) fprintf(stderr, "[nullcuda] violation in capture: %s -> %d\n", what, (int)e);
  return e;
}
static bool any() { return !capturing.empty(); }
static void count(const std::string& n, cudaStream_t s) {
  std::lock_guard<std::recursive_mutex> g(mu);
  if (capturing.count(s)) {
    captured[n]++;
    n_captured++;
  } else {
    launches[n]++;
    n_launch++;
    if (any()) {
      n_outside++;
      fprintf(stderr, "[nullcuda] launch outside the capturing stream: %s\n", n.c_str());
    }
  }
}
API void nullcuda_counts(long* o) {
  o[0] = n_launch;
  o[1] = n_captured;
  o[2] = n_sync;
  o[3] = n_h2d;
  o[4] = n_d2h;
  o[5] = n_graph;
  o[6] = n_violation;
  o[7] = n_outside;
  o[8] = used;
  o[9] = peak;
  o[10] = b_h2d;
  o[11] = b_d2h;
}
API void nullcuda_reset() {
  std::lock_guard<std::recursive_mutex> g(mu);
  launches.clear();
  captured.clear();
  n_launch = n_captured = n_sync = n_h2d = n_d2h = n_graph = n_violation = n_outside = 0;
  peak = used;
  b_h2d = b_d2h = 0;
}
API void nullcuda_limit(size_t t) { total = t; }
API int nullcuda_dump(int which, char* buf, int len) {
  std::lock_guard<std::recursive_mutex> g(mu);
  std::string s;
  for (auto& k : (which ? captured : launches)) s += std::to_string(k.second) + "\t" + k.first + "\n";
  int n = (int)s.size();
  if (buf) {
    strncpy(buf, s.c_str(), len - 1);
    buf[len - 1] = 0;
  }
  return n + 1;
}
API void nullcuda_note(const char* n, void* stream) { count(n, (cudaStream_t)stream); }
API int nullcuda_capturing(void* stream) {
  std::lock_guard<std::recursive_mutex> g(mu);
  return capturing.count((cudaStream_t)stream);
}

API cudaError_t cudaGetDeviceCount(int* c) {
  *c = 1;
  return cudaSuccess;
}
API cudaError_t cudaGetDevice(int* d) {
  *d = 0;
  return cudaSuccess;
}
API cudaError_t cudaSetDevice(int d) { return cudaSuccess; }
API cudaError_t cudaDriverGetVersion(int* v) {
  *v = 13020;
  return cudaSuccess;
}
API cudaError_t cudaRuntimeGetVersion(int* v) {
  *v = 13020;
  return cudaSuccess;
}
API cudaError_t cudaGetLastError() {
  auto e = last;
  last = cudaSuccess;
  return e;
}
API cudaError_t cudaPeekAtLastError() { return last; }
API const char* cudaGetErrorString(cudaError_t e) {
  if (e == 2) return "out of memory";
  if (e == 900) return "operation not permitted when stream is capturing";
  return "null cuda error";
}
API const char* cudaGetErrorName(cudaError_t e) {
  return e == 2 ? "cudaErrorMemoryAllocation" : e == 900 ? "cudaErrorStreamCaptureUnsupported" : "cudaErrorNull";
}
API cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  memset(p, 0, sizeof *p);
  strcpy(p->name, "NVIDIA H200 (null)");
  p->major = 9;
  p->minor = 0;
  p->multiProcessorCount = 132;
  p->totalGlobalMem = total;
  p->sharedMemPerBlock = 49152;
  p->sharedMemPerBlockOptin = 232448;
  p->sharedMemPerMultiprocessor = 233472;
  p->regsPerBlock = 65536;
  p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->l2CacheSize = 62914560;
  p->memPitch = 2147483647;
  p->textureAlignment = 512;
  p->maxBlocksPerMultiProcessor = 32;
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr a, int) {
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
    case 38:
      *v = 62914560;
      break;
    default:
      *v = 1;
  }
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetPCIBusId(char* b, int n, int) {
  strncpy(b, "0000:00:00.0", n);
  return cudaSuccess;
}
API cudaError_t cudaDeviceGetStreamPriorityRange(int* a, int* b) {
  if (a) *a = 0;
  if (b) *b = -5;
  return cudaSuccess;
}
API cudaError_t cudaDeviceCanAccessPeer(int* c, int, int) {
  *c = 0;
  return cudaSuccess;
}
static cudaError_t sync(const char* w) {
  n_sync++;
  if (any()) return fail((cudaError_t)900, w);
  return cudaSuccess;
}
API cudaError_t cudaDeviceSynchronize() { return sync("cudaDeviceSynchronize"); }
API cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  n_sync++;
  if (capturing.count(s)) return fail((cudaError_t)900, "cudaStreamSynchronize");
  return cudaSuccess;
}
API cudaError_t cudaStreamQuery(cudaStream_t s) {
  if (capturing.count(s)) return fail((cudaError_t)900, "cudaStreamQuery");
  return cudaSuccess;
}
API cudaError_t cudaEventQuery(cudaEvent_t e) { return cudaSuccess; }
API cudaError_t cudaEventSynchronize(cudaEvent_t e) {
  n_sync++;
  return cudaSuccess;
}
static long tok = 0x1000;
#define NEW(T, p) *(p) = (T)(uintptr_t)(tok += 16)
API cudaError_t cudaEventCreate(cudaEvent_t* e) {
  NEW(cudaEvent_t, e);
  return cudaSuccess;
}
API cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  NEW(cudaEvent_t, e);
  return cudaSuccess;
}
API cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }
API cudaError_t cudaEventElapsedTime(float* f, cudaEvent_t, cudaEvent_t) {
  *f = 1.f;
  return cudaSuccess;
}
API cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) {
  std::lock_guard<std::recursive_mutex> g(mu);
  event_captured[e] = capturing.count(s);
  return cudaSuccess;
}
API cudaError_t cudaEventRecordWithFlags(cudaEvent_t e, cudaStream_t s, unsigned) { return cudaEventRecord(e, s); }
API cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) {
  std::lock_guard<std::recursive_mutex> g(mu);
  if (event_captured[e] && any()) capturing.insert(s);
  return cudaSuccess;
}
API cudaError_t cudaStreamCreate(cudaStream_t* s) {
  NEW(cudaStream_t, s);
  return cudaSuccess;
}
API cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  NEW(cudaStream_t, s);
  return cudaSuccess;
}
API cudaError_t cudaStreamCreateWithPriority(cudaStream_t* s, unsigned, int) {
  NEW(cudaStream_t, s);
  return cudaSuccess;
}
API cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }
API cudaError_t cudaStreamGetPriority(cudaStream_t, int* p) {
  *p = 0;
  return cudaSuccess;
}
API cudaError_t cudaStreamIsCapturing(cudaStream_t s, cudaStreamCaptureStatus* st) {
  std::lock_guard<std::recursive_mutex> g(mu);
  *st = capturing.count(s) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
API cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, cudaStreamCaptureStatus* st, unsigned long long* id,
                                         cudaGraph_t* gr, const cudaGraphNode_t** d, const cudaGraphEdgeData** ed,
                                         size_t* n) {
  cudaStreamIsCapturing(s, st);
  if (id) *id = capturing.count(s) ? 7 + n_graph : 0;
  if (gr) *gr = (cudaGraph_t)(uintptr_t)0x77;
  static cudaGraphNode_t none[1];
  if (d) *d = none;
  if (ed) *ed = nullptr;
  if (n) *n = 0;
  return cudaSuccess;
}
API cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t, cudaGraphNode_t*, const cudaGraphEdgeData*, size_t,
                                                    unsigned) {
  return cudaSuccess;
}
API cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  std::lock_guard<std::recursive_mutex> g(mu);
  capturing.insert(s);
  return cudaSuccess;
}
API cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t s, cudaGraph_t, const cudaGraphNode_t*,
                                              const cudaGraphEdgeData*, size_t, cudaStreamCaptureMode) {
  capturing.insert(s);
  return cudaSuccess;
}
API cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  std::lock_guard<std::recursive_mutex> l(mu);
  capturing.clear();
  NEW(cudaGraph_t, g);
  return cudaSuccess;
}
API cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode*) { return cudaSuccess; }
API cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t, unsigned long long) {
  NEW(cudaGraphExec_t, e);
  return cudaSuccess;
}
API cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* e, cudaGraph_t, unsigned long long) {
  NEW(cudaGraphExec_t, e);
  return cudaSuccess;
}
API cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t) {
  n_graph++;
  return cudaSuccess;
}
API cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
API cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }
API cudaError_t cudaGraphGetNodes(cudaGraph_t, cudaGraphNode_t*, size_t* n) {
  *n = n_captured;
  return cudaSuccess;
}
API cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t, cudaGraphNode_t*, cudaGraphEdgeData*, size_t* n) {
  *n = 0;
  return cudaSuccess;
}
API cudaError_t cudaGraphRetainUserObject(cudaGraph_t, cudaUserObject_t, unsigned, unsigned) { return cudaSuccess; }
API cudaError_t cudaUserObjectCreate(cudaUserObject_t* o, void*, cudaHostFn_t, unsigned, unsigned) {
  NEW(cudaUserObject_t, o);
  return cudaSuccess;
}
API cudaError_t cudaUserObjectRelease(cudaUserObject_t, unsigned) { return cudaSuccess; }
API cudaError_t cudaMemGetInfo(size_t* f, size_t* t) {
  *f = total - used;
  *t = total;
  return cudaSuccess;
}
#include <sys/mman.h>
API cudaError_t cudaMalloc(void** p, size_t n) {
  std::lock_guard<std::recursive_mutex> g(mu);
  if (used + n > total) {
    last = cudaErrorMemoryAllocation;
    return last;
  }
  *p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  blocks[*p] = n;
  used += n;
  if (used > peak) peak = used;
  return cudaSuccess;
}
API cudaError_t cudaMallocAsync(void** p, size_t n, cudaStream_t) { return cudaMalloc(p, n); }
API cudaError_t cudaMallocManaged(void** p, size_t n, unsigned) { return cudaMalloc(p, n); }
API cudaError_t cudaFree(void* p) {
  std::lock_guard<std::recursive_mutex> g(mu);
  if (!p) return cudaSuccess;
  if (any()) fail((cudaError_t)900, "cudaFree");
  auto i = blocks.find(p);
  if (i != blocks.end()) {
    munmap(p, i->second);
    used -= i->second;
    blocks.erase(i);
  }
  return cudaSuccess;
}
API cudaError_t cudaFreeAsync(void* p, cudaStream_t) { return cudaFree(p); }
API cudaError_t cudaHostAlloc(void** p, size_t n, unsigned) {
  *p = calloc(1, n);
  return cudaSuccess;
}
API cudaError_t cudaMallocHost(void** p, size_t n) {
  *p = calloc(1, n);
  return cudaSuccess;
}
API cudaError_t cudaFreeHost(void* p) {
  free(p);
  return cudaSuccess;
}
API cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
API cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }
static bool dev(const void* p) {
  auto i = blocks.upper_bound((void*)p);
  if (i == blocks.begin()) return false;
  --i;
  return (char*)p < (char*)i->first + i->second;
}
static void copy(void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t st) {
  std::lock_guard<std::recursive_mutex> g(mu);
  bool a = dev(d), b = dev(s);
  if (!capturing.count(st)) memcpy(d, s, n);
  count(a && b ? "memcpy D2D" : a ? "memcpy H2D" : "memcpy D2H", st);
  if (a && !b) {
    n_h2d++;
    b_h2d += n;
  }
  if (b && !a) {
    n_d2h++;
    b_d2h += n;
  }
}
API cudaError_t cudaMemcpy(void* d, const void* s, size_t n, cudaMemcpyKind k) {
  if (any()) return fail((cudaError_t)900, "cudaMemcpy");
  copy(d, s, n, k, 0);
  return cudaSuccess;
}
API cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t st) {
  copy(d, s, n, k, st);
  return cudaSuccess;
}
API cudaError_t cudaMemcpyPeerAsync(void* d, int, const void* s, int, size_t n, cudaStream_t st) {
  copy(d, s, n, cudaMemcpyDefault, st);
  return cudaSuccess;
}
API cudaError_t cudaMemcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h, cudaMemcpyKind k,
                                  cudaStream_t st) {
  count("memcpy2D", st);
  for (size_t i = 0; i < h; i++) memcpy((char*)d + i * dp, (char*)s + i * sp, w);
  return cudaSuccess;
}
API cudaError_t cudaMemset(void* d, int v, size_t n) {
  memset(d, v, n);
  count("memset", 0);
  return cudaSuccess;
}
API cudaError_t cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t st) {
  if (!capturing.count(st)) memset(d, v, n);
  count("memset", st);
  return cudaSuccess;
}
API cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) { return cudaSuccess; }
API cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, const void* p) {
  memset(a, 0, sizeof *a);
  a->type = dev(p) ? cudaMemoryTypeDevice : cudaMemoryTypeUnregistered;
  a->devicePointer = (void*)p;
  return cudaSuccess;
}
API cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* a, const void*) {
  memset(a, 0, sizeof *a);
  a->maxThreadsPerBlock = 1024;
  a->numRegs = 32;
  a->binaryVersion = 90;
  a->ptxVersion = 90;
  return cudaSuccess;
}
API cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, const void*, int, size_t) {
  *n = 4;
  return cudaSuccess;
}
API cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, const void*, int, size_t, unsigned) {
  *n = 4;
  return cudaSuccess;
}
API cudaError_t cudaLaunchKernel(const void* f, dim3, dim3, void**, size_t, cudaStream_t s) {
  auto i = names.find(f);
  count(i == names.end() ? "?" : i->second, s);
  return cudaSuccess;
}
API cudaError_t __cudaLaunchKernel(cudaKernel_t f, dim3, dim3, void**, size_t, cudaStream_t s) {
  auto i = names.find((void*)f);
  count(i == names.end() ? "?" : i->second, s);
  return cudaSuccess;
}
API cudaError_t __cudaGetKernel(cudaKernel_t* k, const void* f) {
  *k = (cudaKernel_t)f;
  return cudaSuccess;
}
API cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* c, const void* f, void**) {
  auto i = names.find(f);
  count(i == names.end() ? "?" : i->second, c->stream);
  return cudaSuccess;
}
API cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void* a) {
  f(a);
  return cudaSuccess;
}
API cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void* a, unsigned) {
  f(s, cudaSuccess, a);
  return cudaSuccess;
}
static thread_local struct {
  dim3 g, b;
  size_t sh;
  cudaStream_t s;
} cfg;
API unsigned __cudaPushCallConfiguration(dim3 g, dim3 b, size_t sh, cudaStream_t s) {
  cfg.g = g;
  cfg.b = b;
  cfg.sh = sh;
  cfg.s = s;
  return 0;
}
API cudaError_t __cudaPopCallConfiguration(dim3* g, dim3* b, size_t* sh, void* s) {
  *g = cfg.g;
  *b = cfg.b;
  *sh = cfg.sh;
  *(cudaStream_t*)s = cfg.s;
  return cudaSuccess;
}
API void** __cudaRegisterFatBinary(void*) {
  static void* h[1];
  return h;
}
API void __cudaRegisterFatBinaryEnd(void**) {}
API void __cudaUnregisterFatBinary(void**) {}
API void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
API void __cudaRegisterFunction(void**, const char* hf, char*, const char* n, int, void*, void*, void*, void*, int*) {
  names[(const void*)hf] = n;
}
API cudaError_t cudaProfilerStart() { return cudaSuccess; }
API cudaError_t cudaProfilerStop() { return cudaSuccess; }
API cudaError_t cudaGetDriverEntryPointByVersion(const char* sym, void** f, unsigned, unsigned long long,
                                                 cudaDriverEntryPointQueryResult* r) {
  static void* h = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  *f = h ? dlsym(h, sym) : nullptr;
  if (!*f) {
    static auto generic = +[]() -> int { return 0; };
    *f = (void*)generic;
  }
  if (r) *r = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}
API cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) { return cudaSuccess; }
API cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void*) { return cudaSuccess; }
API cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* p, int) {
  NEW(cudaMemPool_t, p);
  return cudaSuccess;
}
// cuBLAS: what ATen calls
typedef int S;
#define Z(n) \
  API S n() { return 0; }
API S cublasCreate_v2(void** h) {
  NEW(void*, h);
  return 0;
}
Z(cublasDestroy_v2)
static std::map<void*, cudaStream_t> hs;
API S cublasSetStream_v2(void* h, cudaStream_t s) {
  std::lock_guard<std::recursive_mutex> g(mu);
  hs[h] = s;
  return 0;
}
Z(cublasSetWorkspace_v2)
Z(cublasSetMathMode) Z(cublasSetPointerMode_v2) Z(cublasSetSmCountTarget) API S cublasGetMathMode(void*, int* m) {
  *m = 0;
  return 0;
}
API S cublasGetPointerMode_v2(void*, int* m) {
  *m = 0;
  return 0;
}
#define G(n)                    \
  API S n(void* h) {            \
    count("cublas " #n, hs[h]); \
    return 0;                   \
  }
G(cublasGemmEx)
G(cublasSgemmEx) G(cublasSgemm_v2) G(cublasDgemm_v2) G(cublasGemmStridedBatchedEx) G(cublasSgemmStridedBatched)
    G(cublasDgemmStridedBatched) G(cublasSgemv_v2) G(cublasDgemv_v2) G(cublasSdot_v2) Z(cublasLtMatmulAlgoCheck)
        Z(cublasLtMatmulAlgoInit) Z(cublasLtMatmulAlgoConfigSetAttribute) Z(cublasLtMatmulAlgoConfigGetAttribute)
            Z(cublasLtMatmulDescDestroy) Z(cublasLtMatmulDescSetAttribute) Z(cublasLtMatmulPreferenceDestroy)
                Z(cublasLtMatmulPreferenceSetAttribute) Z(cublasLtMatrixLayoutDestroy)
                    Z(cublasLtMatrixLayoutSetAttribute) API S cublasLtMatmulDescCreate(void** h, int, int) {
  NEW(void*, h);
  return 0;
}
API S cublasLtMatmulPreferenceCreate(void** h) {
  NEW(void*, h);
  return 0;
}
API S cublasLtMatrixLayoutCreate(void** h, int, unsigned long, unsigned long, long) {
  NEW(void*, h);
  return 0;
}
API S cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void*, int* n) {
  *n = 1;
  return 0;
}
API S cublasLtMatmul(void* lt, void*, const void*, const void*, void*, const void*, void*, const void*, const void*,
                     void*, void*, void*, const void*, void*, size_t, cudaStream_t s) {
  count("cublasLtMatmul", s);
  return 0;
}
