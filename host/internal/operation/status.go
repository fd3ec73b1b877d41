package operation

// Status describes the contents of a data directory and its pipelines.
type Status struct {
	Version string `json:"version"`
	DataDir string `json:"data_dir"`
	// DataDirMissing means that the data directory does not exist.
	DataDirMissing bool              `json:"data_dir_missing,omitempty"`
	Running        bool              `json:"running"` // a host serves it
	Projects       []ProjectStatus   `json:"projects"`
	Sources        []SourceStatus    `json:"sources"`
	Collectors     []CollectorStatus `json:"collectors"`
	Pulls          []PullStatus      `json:"pulls"`
	Quarantine     QuarantineStatus  `json:"quarantine"`
	Pipelines      []PipelineStatus  `json:"pipelines"`
	// Upkeep is nil before the first pass.
	Upkeep *Upkeep `json:"upkeep,omitempty"`
}
