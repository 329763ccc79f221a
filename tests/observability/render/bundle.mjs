// node bundle.mjs: page.tsx and what it needs as one script and one style sheet, in the working
// directory, whose node_modules has the packages of package.json.

import path from "path";
import { createRequire } from "module";
import { fileURLToPath } from "url";

const here = path.dirname(fileURLToPath(import.meta.url));
const modules = path.resolve("node_modules");
const { build } = createRequire(path.join(modules, "x.js"))("esbuild");

// The packages' ES modules name internal files that are not published; the CommonJS ones are whole.
const whole = (name) => [name, path.join(modules, name, "dist", "cjs", "index.cjs")];

await build({
  entryPoints: [path.join(here, "page.tsx")],
  outfile: "page.js",
  bundle: true,
  minify: true,
  nodePaths: [modules],
  alias: Object.fromEntries(["@grafana/data", "@grafana/schema", "@grafana/ui"].map(whole)),
  loader: { ".svg": "dataurl", ".woff2": "dataurl", ".ttf": "dataurl" },
  define: { "process.env.NODE_ENV": '"production"', global: "window" },
  logLevel: "error",
});
