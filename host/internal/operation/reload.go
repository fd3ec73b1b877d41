package operation

// ReloadReport is the result of a reload.
type ReloadReport struct {
	// Refused are the mistakes of the configuration, as they are printed; "": it was
	// taken over. Otherwise nothing was changed.
	Refused string         `json:"refused,omitempty"`
	Changes []ConfigChange `json:"changes"`
	// Failed is why a configuration without mistakes could not be taken over, such as an
	// address that is in use; "": it was. Otherwise nothing was changed.
	Failed string `json:"failed,omitempty"`
	// Warnings are those of the configuration, and parts that could not be read again.
	Warnings string `json:"warnings,omitempty"`
}

// ConfigChange is a difference between two configurations.
type ConfigChange struct {
	Block     string `json:"block"`               // "pipeline events_out"
	Attribute string `json:"attribute,omitempty"` // "": the whole block
	Event     string `json:"event"`               // added, removed or changed
	From      string `json:"from,omitempty"`      // "" where it may be a secret
	To        string `json:"to,omitempty"`
	Restart   bool   `json:"restart,omitempty"` // it is changed by the next start of the host
	Refused   string `json:"refused,omitempty"` // why nothing is changed, and what to do
	Effect    string `json:"effect,omitempty"`  // the consequence, as a clause
}
