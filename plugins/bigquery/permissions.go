package bigquery

import "strings"

// permission is an IAM permission that the plugin needs.
type permission struct {
	name    string
	purpose string
	role    string // a predefined role that has it
	on      place  // where it is granted
	// needed reports whether a configuration needs it; nil: every one does.
	needed func(config) bool
}

// place is a resource on which a permission is granted.
type place int

const (
	onDataset place = iota
	onProject
	onBucket // the staging bucket
)

const (
	objectRole = "roles/storage.objectUser"
	bucketRole = "roles/storage.legacyBucketReader"

	jobRole  = "roles/bigquery.jobUser"
	dataRole = "roles/bigquery.dataEditor"
	userRole = "roles/bigquery.user"
)

// permissions are all that the plugin needs. Errors, setup and the documentation
// take them from here.
var permissions = []permission{
	{"bigquery.jobs.create", "loads and scripts; the state of own jobs comes with it", jobRole, onProject, nil},
	{"bigquery.datasets.create", "create_dataset", userRole, onProject, func(c config) bool { return c.CreateDataset }},
	{"bigquery.datasets.get", "the dataset's location and default expirations", dataRole, onDataset, nil},
	{"bigquery.tables.create", "tables, views, and a staging table per attempt", dataRole, onDataset, nil},
	{"bigquery.tables.get", "tables and views", dataRole, onDataset, nil},
	{"bigquery.tables.getData", "the ledger, and the staging table in the commit", dataRole, onDataset, nil},
	{"bigquery.tables.list", "earlier tables of people and identity", dataRole, onDataset, nil},
	{"bigquery.tables.update", "views that are switched, expirations", dataRole, onDataset, nil},
	{"bigquery.tables.updateData", "loads, and the statements of the commit", dataRole, onDataset, nil},
	{"bigquery.tables.delete", "staging tables, and earlier tables of people and identity", dataRole, onDataset, nil},
	{"storage.objects.create", "staged rows", objectRole, onBucket, config.stages},
	{"storage.objects.get", "loads from the staging bucket", objectRole, onBucket, config.stages},
	{"storage.objects.list", "objects that earlier attempts have left", objectRole, onBucket, config.stages},
	{"storage.objects.delete", "staged rows that are loaded", objectRole, onBucket, config.stages},
	{"storage.buckets.get", "loads from the staging bucket", bucketRole, onBucket, config.stages},
}

// permissions returns those that the configuration needs in a place.
func (c config) permissions(on place) []string {
	var names []string
	for _, p := range permissions {
		if p.on == on && (p.needed == nil || p.needed(c)) {
			names = append(names, p.name)
		}
	}
	return names
}

// permissionIn returns the permission that a refusal names; if it names none that
// is known, one that stands for the dataset's role.
func permissionIn(text string) permission {
	found := permission{name: "a permission on the dataset", role: dataRole}
	for _, p := range permissions {
		// bigquery.tables.get begins bigquery.tables.getData.
		if strings.Contains(text, p.name) && len(p.name) > len(found.name) || found.name == "a permission on the dataset" && strings.Contains(text, p.name) {
			found = p
		}
	}
	return found
}
