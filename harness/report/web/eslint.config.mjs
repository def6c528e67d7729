// SPDX-License-Identifier: MIT
import js from "@eslint/js";
import ts from "typescript-eslint";

export default ts.config(
  { ignores: ["built/", ".tests/", "node_modules/"] },
  js.configs.recommended,
  ...ts.configs.strictTypeChecked.map((config) => ({ ...config, files: ["src/**/*.ts", "test/**/*.ts"] })),
  {
    files: ["src/**/*.ts", "test/**/*.ts"],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      // What a guest said goes into the page as text, never as markup.
      "no-restricted-properties": [
        "error",
        ...["innerHTML", "outerHTML", "insertAdjacentHTML", "write"].map((property) => ({ property })),
      ],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      "@typescript-eslint/no-confusing-void-expression": "off",
    },
  },
  {
    files: ["test/**/*.ts"],
    // node:test awaits what its functions return.
    rules: { "@typescript-eslint/no-floating-promises": "off" },
  },
  { files: ["*.mjs"], languageOptions: { globals: { process: "readonly", URL: "readonly" } } },
);
