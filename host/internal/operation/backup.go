package operation

import "time"

// BackupReport describes a backup that was written.
type BackupReport struct {
	Path        string       `json:"path"`
	MadeAt      time.Time    `json:"made_at"`
	Bytes       int64        `json:"bytes"` // of the file
	Parts       []BackupPart `json:"parts"`
	NotIncluded []string     `json:"not_included"`
}

// BackupPart counts the files of one part of the data directory: "blobs",
// "quarantine", "collector" or "catalog".
type BackupPart struct {
	Name  string `json:"name"`
	Files int64  `json:"files"`
	Bytes int64  `json:"bytes"`
}

// RestoreReport describes a data directory that was restored.
type RestoreReport struct {
	DataDir   string    `json:"data_dir"`
	MadeAt    time.Time `json:"made_at"`  // when the backup was written
	Version   string    `json:"penstock"` // of the host that wrote it
	Files     int64     `json:"files"`
	Bytes     int64     `json:"bytes"`
	Projects  int       `json:"projects"`
	Pipelines int       `json:"pipelines"`
	// NotIncluded are parts of an installation that no backup holds.
	NotIncluded []string `json:"not_included"`
}
