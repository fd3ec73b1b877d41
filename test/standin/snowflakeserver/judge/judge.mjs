// Judges the statements that the stand-in for Snowflake has accepted with a parser of
// Snowflake's dialect that others wrote. The argument is a directory with the files of
// PENSTOCK_SNOWFLAKE_STATEMENTS. Exit status 1: a statement is refused.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { init, validate } from "@polyglot-sql/sdk";

// Valid statements that the parser refuses, with the pages that allow them.
const falseRefusals = [
  { statement: /CLUSTER BY \(/i, error: /Expected RParen, got LParen/, page: "user-guide/tables-clustering-keys" },
  { statement: /^SHOW GRANTS ON SCHEMA/i, error: /Unexpected token/, page: "sql-reference/sql/show-grants" },
];

await init();
const statements = new Set();
const directory = process.argv[2];
for (const file of readdirSync(directory)) {
  for (const line of readFileSync(join(directory, file), "utf8").split("\n")) {
    if (line === "") continue;
    const { text, error } = JSON.parse(line);
    if (error === "") statements.add(text);
  }
}
let refused = 0, excepted = 0;
for (const text of statements) {
  const verdict = validate(text, "snowflake");
  if (verdict.valid) continue;
  const message = verdict.errors.map((e) => e.message).join("; ");
  if (falseRefusals.some((f) => f.statement.test(text) && f.error.test(message))) {
    excepted++;
    continue;
  }
  refused++;
  console.error(`refused: ${text}\n  ${message}`);
}
console.log(`${statements.size} statements judged, ${refused} refused, ${excepted} known false refusals`);
if (statements.size === 0) console.error("no statements were recorded");
process.exit(refused > 0 || statements.size === 0 ? 1 : 0);
