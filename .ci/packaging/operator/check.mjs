// Checks the operator's resources in rendered files in two ways: by the validators that were made from the operator's
// own definitions, which let unknown keys pass, and by the types of the same package, which do not. Both are first
// tried on broken copies.
//
// Usage: node check.mjs FILE…      (from a folder with this package's node_modules; writes operator.ts there)

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import * as models from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
import yaml from "js-yaml";

const API = "monitoring.coreos.com/v1";

/** What the validator says of an object: nothing, if it is good. */
function refusal(object) {
  const Model = models[object.kind];
  if (!Model) return `no such kind: ${object.kind}`;
  try {
    new Model(object).validate();
  } catch (fault) {
    return fault.message;
  }
}

/** What the compiler says of objects written as constants of their types, by the index of the object. */
function typeFaults(objects) {
  const kinds = [...new Set(objects.map((object) => object.kind))];
  const head = `import type { ${kinds.map((kind) => `I${kind}`).join(", ")} } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";\n`;
  const lines = objects.map((object, at) => `export const o${at}: I${object.kind} = ${JSON.stringify(object)};\n`);
  writeFileSync("operator.ts", head + lines.join(""));
  const flags = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022", "--pretty", "false"];
  const done = spawnSync("node_modules/.bin/tsc", [...flags, "operator.ts"], { encoding: "utf8" });
  const faults = [...done.stdout.matchAll(/^operator\.ts\((\d+),\d+\): (.*)$/gm)].map(([, line, text]) => [Number(line) - 2, text]);
  if (done.status !== 0 && faults.length === 0) throw new Error(`tsc: ${done.stdout}${done.stderr}`);
  return faults;
}

const found = [];
const objects = [];
for (const file of process.argv.slice(2)) {
  for (const object of yaml.loadAll(readFileSync(file, "utf8"))) {
    if (object?.apiVersion === API) objects.push({ file, object });
  }
}
if (objects.length === 0) throw new Error("no resource of the operator in any file");

function broken(kind, change) {
  const twin = structuredClone(objects.find(({ object }) => object.kind === kind).object);
  change(twin.spec);
  return twin;
}
const firstRule = (spec) => spec.groups[0].rules[0];
const invalid = [
  broken("ServiceMonitor", (spec) => delete spec.selector),
  broken("ServiceMonitor", (spec) => (spec.endpoints[0].port = 10477)),
  broken("ServiceMonitor", (spec) => (spec.endpoints[0].interval = "30 s")),
  broken("PrometheusRule", (spec) => delete firstRule(spec).expr),
  broken("PrometheusRule", (spec) => (firstRule(spec).for = "5 minutes")),
];
const mistyped = [
  broken("ServiceMonitor", (spec) => (spec.endpoints[0].scrapeTimeOut = "25s")),
  broken("PrometheusRule", (spec) => (firstRule(spec).summary = "x")),
];
for (const object of invalid) {
  if (!refusal(object)) found.push(`the validator takes ${JSON.stringify(object).slice(0, 200)}`);
}

for (const { file, object } of objects) {
  const text = refusal(object);
  if (text) found.push(`${file}: ${object.kind}: ${text}`);
}
const all = [...objects.map(({ object }) => object), ...mistyped];
const seen = new Set();
for (const [at, text] of typeFaults(all)) {
  if (at < objects.length) found.push(`${objects[at].file}: ${all[at].kind}: ${text}`);
  seen.add(at);
}
mistyped.forEach((object, at) => {
  if (!seen.has(objects.length + at)) found.push(`the types take an unknown key of ${object.kind}`);
});

for (const fault of found) console.error(fault);
if (found.length > 0) process.exit(1);
console.log(`${objects.length} resources of the operator; ${invalid.length + mistyped.length} broken copies refused`);
