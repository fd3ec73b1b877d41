package protocol

import (
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "github.com/penstock-io/penstock/proto/penstock/destination/v1"
	"github.com/penstock-io/penstock/sdk/batch"
	"github.com/penstock-io/penstock/sdk/schema"
)

// Our enumerations have the wire's numbers, so that a conversion is a cast. An
// index other than 0 does not compile.
var (
	_ = [1]int{}[int(batch.Events)-int(pb.Stream_STREAM_EVENTS)]
	_ = [1]int{}[int(batch.People)-int(pb.Stream_STREAM_PEOPLE)]
	_ = [1]int{}[int(batch.Identity)-int(pb.Stream_STREAM_IDENTITY)]
	_ = [1]int{}[int(Append)-int(pb.Mode_MODE_APPEND)]
	_ = [1]int{}[int(Replace)-int(pb.Mode_MODE_REPLACE)]
	_ = [1]int{}[int(ByUTCDate)-int(pb.Partitioning_PARTITIONING_UTC)]
	_ = [1]int{}[int(ByProjectDate)-int(pb.Partitioning_PARTITIONING_PROJECT)]
	_ = [1]int{}[int(Transaction)-int(pb.Guarantee_GUARANTEE_TRANSACTION)]
	_ = [1]int{}[int(Idempotent)-int(pb.Guarantee_GUARANTEE_IDEMPOTENT)]
	_ = [1]int{}[int(AtLeastOnce)-int(pb.Guarantee_GUARANTEE_AT_LEAST_ONCE)]
	_ = [1]int{}[int(SetupCommands)-int(pb.SetupFormat_SETUP_FORMAT_COMMANDS)]
	_ = [1]int{}[int(SetupTerraform)-int(pb.SetupFormat_SETUP_FORMAT_TERRAFORM)]
	_ = [1]int{}[int(SeverityError)-int(pb.Severity_SEVERITY_ERROR)]
	_ = [1]int{}[int(SeverityWarning)-int(pb.Severity_SEVERITY_WARNING)]
	_ = [1]int{}[int(Absent)-int(pb.RunState_RUN_STATE_ABSENT)]
	_ = [1]int{}[int(Committed)-int(pb.RunState_RUN_STATE_COMMITTED)]
	_ = [1]int{}[int(InDoubt)-int(pb.RunState_RUN_STATE_IN_DOUBT)]
	_ = [1]int{}[int(Retryable)-int(pb.ErrorClass_ERROR_CLASS_RETRYABLE)]
	_ = [1]int{}[int(Permanent)-int(pb.ErrorClass_ERROR_CLASS_PERMANENT)]
	_ = [1]int{}[int(Configuration)-int(pb.ErrorClass_ERROR_CLASS_CONFIGURATION)]
	_ = [1]int{}[int(Fenced)-int(pb.ErrorClass_ERROR_CLASS_FENCED)]
	_ = [1]int{}[int(InventoryObject)-int(pb.InventoryKind_INVENTORY_KIND_OBJECT)]
	_ = [1]int{}[int(InventoryTotals)-int(pb.InventoryKind_INVENTORY_KIND_TOTALS)]
	_ = [1]int{}[int(InventoryRun)-int(pb.InventoryKind_INVENTORY_KIND_RUN)]
	_ = [1]int{}[int(InventoryRecord)-int(pb.InventoryKind_INVENTORY_KIND_RECORD)]
	_ = [1]int{}[int(schema.String)-int(pb.AttributeType_ATTRIBUTE_TYPE_STRING)]
	_ = [1]int{}[int(schema.Bool)-int(pb.AttributeType_ATTRIBUTE_TYPE_BOOL)]
	_ = [1]int{}[int(schema.Integer)-int(pb.AttributeType_ATTRIBUTE_TYPE_INTEGER)]
	_ = [1]int{}[int(schema.Number)-int(pb.AttributeType_ATTRIBUTE_TYPE_NUMBER)]
	_ = [1]int{}[int(schema.ListOfString)-int(pb.AttributeType_ATTRIBUTE_TYPE_LIST_OF_STRING)]
	_ = [1]int{}[int(schema.MapOfString)-int(pb.AttributeType_ATTRIBUTE_TYPE_MAP_OF_STRING)]
	_ = [1]int{}[int(schema.Path)-int(pb.AttributeType_ATTRIBUTE_TYPE_PATH)]
	_ = [1]int{}[int(schema.Size)-int(pb.AttributeType_ATTRIBUTE_TYPE_SIZE)]
	_ = [1]int{}[int(schema.Duration)-int(pb.AttributeType_ATTRIBUTE_TYPE_DURATION)]
	_ = [1]int{}[int(batch.DuplicateKey)-int(pb.RowFlag_ROW_FLAG_DUPLICATE_KEY)]
	_ = [1]int{}[int(batch.NUL)-int(pb.RowFlag_ROW_FLAG_NUL)]
	_ = [1]int{}[int(batch.WideNumber)-int(pb.RowFlag_ROW_FLAG_WIDE_NUMBER)]
	_ = [1]int{}[int(batch.LongRow)-int(pb.RowFlag_ROW_FLAG_LONG_ROW)]
	_ = [1]int{}[int(batch.Deep)-int(pb.RowFlag_ROW_FLAG_DEEP)]
	_ = [1]int{}[int(batch.LoneSurrogate)-int(pb.RowFlag_ROW_FLAG_LONE_SURROGATE)]
	_ = [1]int{}[int(batch.RoundedNumber)-int(pb.RowFlag_ROW_FLAG_ROUNDED_NUMBER)]
)

func each[A, B any](in []A, convert func(A) B) []B {
	if len(in) == 0 {
		return nil
	}
	out := make([]B, len(in))
	for i, v := range in {
		out[i] = convert(v)
	}
	return out
}

// The functions below come in pairs, named after the plain type.

// CapabilitiesToProto converts.
func CapabilitiesToProto(c Capabilities) *pb.Capabilities {
	proto := &pb.Capabilities{
		Streams:       each(c.Streams, func(s Stream) pb.Stream { return pb.Stream(s) }),
		Codecs:        []pb.Codec{pb.Codec_CODEC_NDJSON_DEFLATE},
		Modes:         each(c.Modes, func(m Mode) pb.Mode { return pb.Mode(m) }),
		Partitioning:  pb.Partitioning(c.Partitioning),
		Guarantee:     pb.Guarantee(c.Guarantee),
		GuaranteeText: text(c.GuaranteeText),
		Inventory:     c.Inventory,
		Erase:         c.Erase,
		MaxDaysPerRun: uint32(c.MaxDaysPerRun),
		Repair:        c.Repair,
	}
	if c.MinInterval > 0 {
		proto.MinInterval = durationpb.New(c.MinInterval)
	}
	return proto
}

func capabilitiesFromProto(c *pb.Capabilities) Capabilities {
	return Capabilities{
		Streams:       each(c.GetStreams(), func(s pb.Stream) Stream { return Stream(s) }),
		Modes:         each(c.GetModes(), func(m pb.Mode) Mode { return Mode(m) }),
		Partitioning:  Partitioning(c.GetPartitioning()),
		Guarantee:     Guarantee(c.GetGuarantee()),
		GuaranteeText: c.GetGuaranteeText(),
		Inventory:     c.GetInventory(),
		Erase:         c.GetErase(),
		MaxDaysPerRun: int(c.GetMaxDaysPerRun()),
		Repair:        c.GetRepair(),
		MinInterval:   max(c.GetMinInterval().AsDuration(), 0),
	}
}

func projectToProto(p Project) *pb.Project {
	return &pb.Project{Id: p.ID, Name: p.Name, TimeZone: p.TimeZone, Token: p.Token}
}

// ProjectFromProto converts.
func ProjectFromProto(p *pb.Project) Project {
	return Project{ID: p.GetId(), Name: p.GetName(), TimeZone: p.GetTimeZone(), Token: p.GetToken()}
}

// DiagnosticToProto converts.
func DiagnosticToProto(d Diagnostic) *pb.Diagnostic {
	return &pb.Diagnostic{
		Severity: pb.Severity(d.Severity), Attribute: text(d.Attribute), Summary: text(d.Summary), Detail: text(d.Detail),
	}
}

func diagnosticFromProto(d *pb.Diagnostic) Diagnostic {
	return Diagnostic{
		Severity: Severity(d.GetSeverity()), Attribute: d.GetAttribute(), Summary: d.GetSummary(), Detail: d.GetDetail(),
	}
}

// TargetToProto converts.
func TargetToProto(t Target) *pb.Target {
	return &pb.Target{Stream: pb.Stream(t.Stream), Uri: text(t.URI)}
}

func targetFromProto(t *pb.Target) Target {
	return Target{Stream: Stream(t.GetStream()), URI: t.GetUri()}
}

// ConfiguredToProto converts.
func ConfiguredToProto(c Configured) *pb.ConfigureResponse {
	return &pb.ConfigureResponse{
		Diagnostics: each(c.Diagnostics, DiagnosticToProto), Targets: each(c.Targets, TargetToProto),
	}
}

func runToProto(r Run) *pb.Run {
	return &pb.Run{
		ProjectId: r.ProjectID, Pipeline: r.Pipeline, PipelineId: r.PipelineID,
		Stream: pb.Stream(r.Stream), Mode: pb.Mode(r.Mode), Number: r.Number, Content: r.Content,
	}
}

// RunFromProto converts. Fence, Adopt, AsOf, Repair and Extents are OpenFromProto's.
func RunFromProto(r *pb.Run) Run {
	return Run{
		ProjectID: r.GetProjectId(), Pipeline: r.GetPipeline(), PipelineID: r.GetPipelineId(),
		Stream: Stream(r.GetStream()), Mode: Mode(r.GetMode()), Number: r.GetNumber(), Content: r.GetContent(),
	}
}

func openToProto(r Run) *pb.Open {
	open := &pb.Open{Run: runToProto(r), Fence: r.Fence, Adopt: r.Adopt, Extents: r.Extents}
	if !r.AsOf.IsZero() {
		open.AsOf = timestamppb.New(r.AsOf)
	}
	if m := r.Repair; m != nil {
		open.Repair = &pb.Repair{
			Remove: m.Remove, Deep: m.Deep, Partitions: uint32(m.Partitions), Totals: m.Totals, Record: m.Record, OpenRun: m.OpenRun,
		}
	}
	return open
}

// OpenFromProto converts.
func OpenFromProto(o *pb.Open) Run {
	r := RunFromProto(o.GetRun())
	r.Fence, r.Adopt, r.Extents = o.GetFence(), o.GetAdopt(), o.GetExtents()
	if o.GetAsOf().IsValid() {
		r.AsOf = o.GetAsOf().AsTime()
	}
	if m := o.GetRepair(); m != nil {
		r.Repair = &Repair{
			Remove: m.GetRemove(), Deep: m.GetDeep(), Partitions: int(m.GetPartitions()), Totals: m.GetTotals(), Record: m.GetRecord(), OpenRun: m.GetOpenRun(),
		}
	}
	return r
}

// LastRunToProto makes the answer to an Open.
func LastRunToProto(l LastRun) *pb.Opened {
	return &pb.Opened{LastCommittedRun: l.Number, LastContent: text(l.Content)}
}

// ExtentFromProto converts.
func ExtentFromProto(e *pb.Extent) Extent {
	return Extent{File: e.GetFile(), Offset: int64(e.GetOffset()), Length: int(e.GetLength())}
}

func lastRunFromProto(o *pb.Opened) LastRun {
	return LastRun{Number: o.GetLastCommittedRun(), Content: o.GetLastContent()}
}

// PartitionFromProto converts, and refuses a date that is not one.
func PartitionFromProto(p *pb.BeginPartition) (Partition, error) {
	if d := p.GetDate(); d != "" {
		if _, err := time.Parse(time.DateOnly, d); err != nil {
			return Partition{}, fmt.Errorf("partition %d: %q is not a date", p.GetIndex(), d)
		}
	}
	return Partition{Index: int(p.GetIndex()), Date: p.GetDate()}, nil
}

func totalsToProto(t Totals) *pb.Totals {
	return &pb.Totals{Rows: t.Rows, RowsBytes: t.RowsBytes, RowsCrc32: t.RowsCRC32, PayloadBytes: t.PayloadBytes}
}

// TotalsFromProto converts.
func TotalsFromProto(t *pb.Totals) Totals {
	return Totals{
		Rows: t.GetRows(), RowsBytes: t.GetRowsBytes(), RowsCRC32: t.GetRowsCrc32(), PayloadBytes: t.GetPayloadBytes(),
	}
}

// maxObjects is the largest number of object names in a receipt to the host: at
// 200 bytes each they take a quarter of a message.
const maxObjects = 10_000

// ReceiptToProto converts. Of the objects' names it keeps the first 10,000.
func ReceiptToProto(r Receipt) *pb.Receipt {
	left := maxObjects
	return &pb.Receipt{Partitions: each(r.Partitions, func(p PartitionReceipt) *pb.PartitionReceipt {
		objects := p.Objects[:min(len(p.Objects), left)]
		left -= len(objects)
		return &pb.PartitionReceipt{
			Index: uint32(p.Index), Rows: p.Rows, Rejected: p.Rejected, RowsBytes: p.RowsBytes,
			RowsCrc32: p.RowsCRC32, StoredBytes: p.StoredBytes, Objects: each(objects, text), Changed: validReasons(p.Changed),
		}
	})}
}

// receiptFromProto converts. The wire does not repeat the dates.
func receiptFromProto(r *pb.Receipt) Receipt {
	return Receipt{Partitions: each(r.GetPartitions(), func(p *pb.PartitionReceipt) PartitionReceipt {
		return PartitionReceipt{
			Index: int(p.GetIndex()), Rows: p.GetRows(), Rejected: p.GetRejected(), RowsBytes: p.GetRowsBytes(),
			RowsCRC32: p.GetRowsCrc32(), StoredBytes: p.GetStoredBytes(), Objects: p.GetObjects(), Changed: p.GetChanged(),
		}
	})}
}

// validReasons makes the keys valid UTF-8, as the wire demands.
func validReasons(changed map[string]uint64) map[string]uint64 {
	if len(changed) == 0 {
		return nil
	}
	out := make(map[string]uint64, len(changed))
	for reason, rows := range changed {
		out[text(reason)] += rows
	}
	return out
}

// RejectedToProto converts one row.
func RejectedToProto(r RejectedRow) *pb.Rejected {
	return &pb.Rejected{Rows: []*pb.RejectedRow{{
		Partition: uint32(r.Partition), Row: r.Row, Reason: text(r.Reason), Line: r.Line,
	}}}
}

func rejectedFromProto(r *pb.RejectedRow) RejectedRow {
	return RejectedRow{Partition: int(r.GetPartition()), Row: r.GetRow(), Reason: r.GetReason(), Line: r.GetLine()}
}

// StatusToProto converts.
func StatusToProto(s Status) *pb.StatusResponse {
	out := &pb.StatusResponse{
		State: pb.RunState(s.State), LastCommittedRun: s.Last.Number, LastContent: text(s.Last.Content), Content: text(s.Content), Fence: s.Fence,
	}
	if s.Receipt != nil {
		out.Receipt = ReceiptToProto(*s.Receipt)
	}
	return out
}

// statusFromProto converts. A state that this version does not know is in
// doubt: nothing is concluded from it.
func statusFromProto(s *pb.StatusResponse) Status {
	out := Status{
		State: RunState(s.GetState()), Last: LastRun{Number: s.GetLastCommittedRun(), Content: s.GetLastContent()},
		Content: s.GetContent(), Fence: s.GetFence(),
	}
	if out.State != Absent && out.State != Committed {
		out.State = InDoubt
	}
	if s.GetReceipt() != nil {
		r := receiptFromProto(s.GetReceipt())
		out.Receipt = &r
	}
	return out
}

// CheckResultToProto converts.
func CheckResultToProto(r CheckResult) *pb.CheckResult {
	return &pb.CheckResult{Action: text(r.Action), Ok: r.OK, Detail: text(r.Detail)}
}

func checkResultFromProto(r *pb.CheckResult) CheckResult {
	return CheckResult{Action: r.GetAction(), OK: r.GetOk(), Detail: r.GetDetail()}
}

func setupRequestToProto(r SetupRequest) *pb.SetupRequest {
	return &pb.SetupRequest{
		Projects: each(r.Projects, projectToProto), ConfigJson: r.Config, Destination: r.Destination,
		Format: pb.SetupFormat(r.Format), Unknown: r.Unknown,
	}
}

// SetupRequestFromProto converts.
func SetupRequestFromProto(r *pb.SetupRequest) SetupRequest {
	return SetupRequest{
		Projects: each(r.GetProjects(), ProjectFromProto), Config: r.GetConfigJson(), Destination: r.GetDestination(),
		Format: SetupFormat(r.GetFormat()), Unknown: r.GetUnknown(),
	}
}

// SetupStepsToProto converts.
func SetupStepsToProto(s SetupSteps) *pb.SetupResponse {
	return &pb.SetupResponse{
		Diagnostics: each(s.Diagnostics, DiagnosticToProto),
		Steps: each(s.Steps, func(step SetupStep) *pb.SetupStep {
			return &pb.SetupStep{Title: text(step.Title), Text: text(step.Text)}
		}),
	}
}

func setupStepsFromProto(s *pb.SetupResponse) SetupSteps {
	return SetupSteps{
		Diagnostics: each(s.GetDiagnostics(), diagnosticFromProto),
		Steps: each(s.GetSteps(), func(step *pb.SetupStep) SetupStep {
			return SetupStep{Title: step.GetTitle(), Text: step.GetText()}
		}),
	}
}

// InventoryItemToProto converts.
func InventoryItemToProto(i InventoryItem) *pb.InventoryResponse {
	out := &pb.InventoryResponse{
		Kind: pb.InventoryKind(i.Kind), Date: i.Date, Run: i.Run, Object: text(i.Object), Content: text(i.Content), Problem: text(i.Problem),
		Recorded: factsToProto(i.Recorded), Found: factsToProto(i.Found), Unfinished: i.Unfinished, Foreign: i.Foreign, Restorable: i.Restorable,
	}
	if i.Kind == InventoryObject {
		out.Rows, out.StoredBytes = out.GetRecorded().GetRows(), out.GetFound().GetStoredBytes()
	}
	return out
}

// inventoryItemFromProto converts. An entry without a kind is from a plugin that
// knows none: an object that was found and of which no record is known.
func inventoryItemFromProto(i *pb.InventoryResponse) InventoryItem {
	out := InventoryItem{
		Kind: InventoryKind(i.GetKind()), Date: i.GetDate(), Run: i.GetRun(), Object: i.GetObject(), Content: i.GetContent(), Problem: i.GetProblem(),
		Recorded: factsFromProto(i.GetRecorded()), Found: factsFromProto(i.GetFound()), Unfinished: i.GetUnfinished(), Foreign: i.GetForeign(), Restorable: i.GetRestorable(),
	}
	if out.Kind == 0 {
		facts := InventoryFacts{Rows: i.GetRows(), StoredBytes: i.GetStoredBytes()}
		out.Kind, out.Recorded, out.Found = InventoryObject, &facts, &facts
	}
	return out
}

func factsToProto(f *InventoryFacts) *pb.InventoryFacts {
	if f == nil {
		return nil
	}
	return &pb.InventoryFacts{
		Rows: f.Rows, RowsBytes: f.RowsBytes, RowsCrc32: f.RowsCRC32, StoredBytes: f.StoredBytes,
		Checksum: text(f.Checksum), Objects: f.Objects, Counted: f.Counted,
	}
}

func factsFromProto(f *pb.InventoryFacts) *InventoryFacts {
	if f == nil {
		return nil
	}
	return &InventoryFacts{
		Rows: f.GetRows(), RowsBytes: f.GetRowsBytes(), RowsCRC32: f.GetRowsCrc32(), StoredBytes: f.GetStoredBytes(),
		Checksum: f.GetChecksum(), Objects: f.GetObjects(), Counted: f.GetCounted(),
	}
}
