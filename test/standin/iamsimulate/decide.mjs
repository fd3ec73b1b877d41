// Reads requests with policies as JSON, and writes for each whether IAM allows it.
// The names of what it imports are found in the working directory.
import { runSimulation } from "@cloud-copilot/iam-simulate";
import { readFileSync } from "node:fs";

const decisions = [];
for (const c of JSON.parse(readFileSync(0, "utf8"))) {
  const found = await runSimulation({
    request: {
      principal: c.principal,
      action: c.action,
      resource: { resource: c.resource, accountId: c.account },
      contextVariables: c.context ?? {},
    },
    identityPolicies: (c.policies ?? []).map((policy, i) => ({ name: `policy-${i}`, policy })),
    resourcePolicy: c.resource_policy ?? undefined,
    serviceControlPolicies: [],
    resourceControlPolicies: [],
  }, {});
  if (found.resultType === "error") {
    throw new Error(`${c.action} on ${c.resource}: ${JSON.stringify(found.errors)}`);
  }
  decisions.push(found.overallResult === "Allowed");
}
process.stdout.write(JSON.stringify(decisions));
