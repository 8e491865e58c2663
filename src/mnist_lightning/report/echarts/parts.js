// The parts of Apache ECharts that the page uses. To make echarts.min.js anew, in an empty directory beside this file's copy:
//   npm install echarts@6.1.0 esbuild@0.28.2
//   npx esbuild parts.js --bundle --minify --format=iife --global-name=echarts --legal-comments=none \
//     --banner:js="/*! Apache ECharts 6.1.0 (Apache-2.0, echarts.apache.org), with zrender (BSD-3-Clause) and tslib (0BSD) */" \
//     --outfile=echarts.min.js
import { init, use } from "echarts/core";
import { LineChart, ParallelChart, ScatterChart } from "echarts/charts";
import { GridComponent, ParallelComponent, TooltipComponent } from "echarts/components";
import { CanvasRenderer } from "echarts/renderers";
use([LineChart, ParallelChart, ScatterChart, GridComponent, ParallelComponent, TooltipComponent, CanvasRenderer]);
export { init };
