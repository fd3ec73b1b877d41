package destinationtest

// check is one law.
type check struct {
	name string
	run  func(b *bench)
}

// checks are all of them, from the plainest on.
var checks = []check{
	{"DescribeAnswersTheSameEachTime", describeIsStable},
	{"AGoodConfigurationHasATargetPerStream", goodConfiguration},
	{"EveryMistakeInAConfigurationIsNamed", badConfigurations},
	{"CheckSucceedsAndLeavesNothing", checkLeavesNothing},

	{"ARunWithoutPartitionsCommits", emptyRun},
	{"APartitionWithoutRowsCommits", emptyPartition},
	{"OneRowArrives", oneRow},
	{"RowsOfManyDaysArriveEachInItsOwn", manyDays},
	{"RowsArriveByteForByte", byteForByte},
	{"ALongRowArrives", longRow},
	{"RefusedRowsComeBackAndTheRestCommits", refusedRows},
	{"TwoRunsAddUp", twoRuns},
	{"ReplacedSetsShowTheOldOneOrTheNew", replacedSet},
	{"AReplacedSetOutlivesAKill", replacedSetKill},
	{"InventoryCountsWhatWasCommitted", inventory},

	{"NothingIsCommittedBeforeCommit", notBeforeCommit},
	{"AnUnknownRunIsAbsent", unknownRun},
	{"ACommittedRunIsNotTakenAgain", committedRun},
	{"ACommittedRunOutlivesTheProcess", committedOutlives},
	{"ACutStreamIsNeverACommit", cutStream},
	{"AnAbortedRunIsAbsent", abortedRun},
	{"WrongTotalsAreRefused", wrongTotals},
	{"ADamagedPayloadIsRefused", damagedPayload},
	{"AnOversizePayloadIsRefused", oversizePayload},

	{"ALostReplyIsAnsweredByStatus", lostReply},
	{"ARetryAfterAKillIsAsIfNothingHadHappened", killAndRetry},
	{"AFrozenPluginLosesNothing", frozen},
	{"AnOlderFenceIsRefused", olderFence},
	{"AZombieCannotCommit", zombie},
	{"AnotherPipelinesTargetIsRefusedUnlessAdopted", otherPipeline},
}
