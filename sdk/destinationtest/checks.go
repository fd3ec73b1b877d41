package destinationtest

// check is one law.
type check struct {
	name string
	run  func(b *bench)
	// rule is the sentence that the check holds the destination to, and read is
	// the place in the documents that explains it.
	rule, read string
}

// The places in the documents.
const (
	configure = "docs/protocol.md, Calls"
	rows      = "docs/protocol.md, Rules for plugins, 3"
	replaced  = "docs/protocol.md, Rules for plugins, 4"
	commits   = "docs/protocol.md, An export: Prepared, Commit, The end of the stream"
	statuses  = "docs/protocol.md, Status"
	batches   = "docs/protocol.md, An export: Batches, Totals"
	retries   = "docs/protocol.md, Rules for plugins, 1 and 2"
	fences    = "docs/protocol.md, An export: Open; Rules for plugins, 5"
	repairs   = "docs/protocol.md, Inventory and repair"
	contents  = "docs/protocol.md, An export: Content; Rules for plugins, 6"
)

// checks are all of them, from the plainest on.
var checks = []check{
	{"DescribeAnswersTheSameEachTime", describeIsStable, "Describe needs no configuration and answers the same each time", configure},
	{"AGoodConfigurationHasATargetPerStream", goodConfiguration, "Configure returns a target for each stream; two places never have the same one", configure},
	{"EveryMistakeInAConfigurationIsNamed", badConfigurations, "Configure reports every mistake at once, each with its attribute", configure},
	{"CheckSucceedsAndLeavesNothing", checkLeavesNothing, "Check tries what an export needs and leaves nothing", configure},

	{"ARunWithoutPartitionsCommits", emptyRun, "a run may have no partition", rows},
	{"APartitionWithoutRowsCommits", emptyPartition, "a partition may have no row", rows},
	{"OneRowArrives", oneRow, "after Committed each row is there once", rows},
	{"RowsOfManyDaysArriveEachInItsOwn", manyDays, "a row lies under its own date", rows},
	{"TheSameDateMayComeTwice", sameDateTwice, "a date may come more than once in a run, and all its rows count", "docs/protocol.md, An export: Partitions"},
	{"RowsArriveByteForByte", byteForByte, "a row arrives byte for byte, or is rejected when it is flagged", rows},
	{"ALongRowArrives", longRow, "a row of up to Harness.LongestRow bytes is stored", rows},
	{"RefusedRowsComeBackAndTheRestCommits", refusedRows, "a rejected row comes back as it was, is counted, and the rest is committed", "docs/protocol.md, An export: Rejected rows"},
	{"TwoRunsAddUp", twoRuns, "the rows of an appending run are added to those before", rows},
	{"TwoProjectsAreKeptApart", twoProjects, "one destination holds several projects, each with its own rows and runs, or refuses a second one", "docs/protocol.md, Calls: Configure"},
	{"ReplacedSetsShowTheOldOneOrTheNew", replacedSet, "a reader of a replaced set sees the old one or the new one", replaced},
	{"AReplacedSetOutlivesAKill", replacedSetKill, "a reader of a replaced set sees the old one or the new one, also after a kill", replaced},
	{"InventoryCountsWhatWasCommitted", inventory, "Inventory lists the rows of each day and run, and only the dates that were asked for", repairs},
	{"InventoryFindsHarm", inventoryHarm, "Inventory tells what was recorded from what is there: missing, truncated and changed objects show", repairs},
	{"ARepairRestoresWhatWasCommitted", repairRestores, "a repair restores missing and damaged objects byte for byte, at Commit, and the last committed run stays", repairs},
	{"ARepairKeepsOtherRuns", repairRefuses, "a repair is refused for a run that is not committed, has other content or an older fence", repairs},
	{"AZombiesRepairChangesNothing", repairZombie, "a repair that a newer attempt has overtaken is refused in Commit, and changes nothing", repairs},
	{"ARepairMayBeKilled", repairKill, "a repair that is killed leaves each object as it was or restored, and may be repeated", repairs},
	{"ARepairRemovesOnlyUnnamedObjects", repairRemoves, "a repair removes objects that no commit names, and no others", repairs},

	{"NothingIsCommittedBeforeCommit", notBeforeCommit, "Prepared means durable and not committed", commits},
	{"AnUnknownRunIsAbsent", unknownRun, "Status of a run that was never committed is ABSENT", statuses},
	{"ACommittedRunIsNotTakenAgain", committedRun, "when the last committed run is this one, partitions, Prepare and Commit are refused", fences},
	{"ACommittedRunOutlivesTheProcess", committedOutlives, "the record of the commit is at the destination: a new process answers as the old one", retries},
	{"ACutStreamIsNeverACommit", cutStream, "a stream that ends before Commit is an abort", commits},
	{"AnAbortedRunIsAbsent", abortedRun, "an aborted run is absent, and with discard nothing of it stays", commits},
	{"WrongTotalsAreRefused", wrongTotals, "rows are counted on arrival, and a difference from the totals is refused", batches},
	{"ADamagedPayloadIsRefused", damagedPayload, "a payload that differs from its checksum, or has no sync flush, is refused", batches},
	{"AnOversizePayloadIsRefused", oversizePayload, "a payload or a batch over the limits is refused", batches},
	{"StatusAnswersWhileAPartitionIsWritten", statusWhileWriting, "Status may be called while an export is open, and does not wait for it", "docs/protocol.md, Calls"},

	{"ALostReplyIsAnsweredByStatus", lostReply, "a commit whose answer is lost is asked about, and Status knows", statuses},
	{"ARetryAfterAKillIsAsIfNothingHadHappened", killAndRetry, "a run may be sent again after a failure at any instant, and overwrites itself", retries},
	{"AFrozenPluginLosesNothing", frozen, "a process may be killed at any instant, also while it is frozen", retries},
	{"TheContentOfACommittedRunIsKept", contentIsKept, "the content of the last committed run is recorded with its number; a receipt need not be", contents},
	{"CopiesOfAHostCannotCommitOneNumber", copiesOfAHost, "a number is committed with one content; another one is refused in the step that commits", contents},
	{"AnOlderFenceIsRefused", olderFence, "Open records the fence, and refuses an older one", fences},
	{"AZombieCannotCommit", zombie, "the fence is checked in the step that commits", fences},
	{"AnotherPipelinesTargetIsRefusedUnlessAdopted", otherPipeline, "a target that another pipeline holds is refused, unless adopt; its rows stay", fences},
}
