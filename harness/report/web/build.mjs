// SPDX-License-Identifier: MIT
// Builds the style and the script of the report into built/, or with --tests the unit tests into .tests/.
// The same sources and the versions in package-lock.json give the same bytes: tests/report/page/test_bundle.py holds that.
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const into = process.argv.indexOf("--into");

if (process.argv.includes("--tests")) {
  rmSync(here(".tests"), { recursive: true, force: true });
  await build({
    entryPoints: readdirSync(here("test")).filter((name) => name.endsWith(".ts")).map((name) => here(`test/${name}`)),
    outdir: here(".tests"),
    outExtension: { ".js": ".test.mjs" },
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node18",
    logLevel: "warning",
  });
} else {
  const options = {
    entryPoints: [here("src/main.ts"), here("src/report.css")],
    entryNames: "report",
    outdir: into < 0 ? here("built") : process.argv[into + 1],
    absWorkingDir: here("."),
    bundle: true,
    minify: true,
    // A page is one file in which an element ends at the first end tag, wherever it stands.
    supported: { "inline-script": false },
    charset: "ascii",
    format: "iife",
    target: ["chrome105", "firefox113", "safari16.4"],
    legalComments: "none",
    logLevel: "warning",
  };
  const { metafile } = await build({ ...options, write: false, metafile: true });
  const banner = `/*\nSPDX-License-Identifier: MIT AND ISC AND BSD-3-Clause\n\n${licences(metafile).join("\n\n")}\n*/`;
  await build({ ...options, banner: { js: banner } });
}

/** Return the licences of the packages in the bundle, each once, with the names of those that have it. */
function licences({ inputs }) {
  const names = Object.keys(inputs).map((path) => /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1]);
  const texts = new Map();
  for (const name of [...new Set(names)].filter(Boolean).sort()) {
    const text = readFileSync(here(`node_modules/${name}/LICENSE`), "utf8").trim().replaceAll("*/", "* /");
    texts.set(text, [...(texts.get(text) ?? []), name]);
  }
  return [...texts].map(([text, packages]) => `${packages.join(", ")}:\n\n${text}`);
}
