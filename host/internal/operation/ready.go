package operation

// Readiness is one condition under which a host works as it should.
type Readiness struct {
	// Check names the condition: "catalog", "journal shop", "plugin s3",
	// "source collector.web".
	Check  string `json:"check"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"` // why it is not
}
