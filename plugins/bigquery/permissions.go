package bigquery

import "strings"

// permission is an IAM permission that the plugin needs.
type permission struct {
	name      string
	purpose   string
	role      string // a predefined role that has it
	onProject bool   // it is granted on the project; else on the dataset
	// needed reports whether a configuration needs it; nil: every one does.
	needed func(config) bool
}

const (
	jobRole  = "roles/bigquery.jobUser"
	dataRole = "roles/bigquery.dataEditor"
	userRole = "roles/bigquery.user"
)

// permissions are all that the plugin needs. Errors, setup and the documentation
// take them from here.
var permissions = []permission{
	{"bigquery.jobs.create", "loads and scripts; the state of own jobs comes with it", jobRole, true, nil},
	{"bigquery.datasets.create", "create_dataset", userRole, true, func(c config) bool { return c.CreateDataset }},
	{"bigquery.datasets.get", "the dataset's location and default expirations", dataRole, false, nil},
	{"bigquery.tables.create", "tables, views, and a staging table per attempt", dataRole, false, nil},
	{"bigquery.tables.get", "tables and views", dataRole, false, nil},
	{"bigquery.tables.getData", "the ledger, and the staging table in the commit", dataRole, false, nil},
	{"bigquery.tables.list", "earlier tables of people and identity", dataRole, false, nil},
	{"bigquery.tables.update", "views that are switched, expirations", dataRole, false, nil},
	{"bigquery.tables.updateData", "loads, and the statements of the commit", dataRole, false, nil},
	{"bigquery.tables.delete", "staging tables, and earlier tables of people and identity", dataRole, false, nil},
}

// permissions returns those that the configuration needs on the project, or on the
// dataset.
func (c config) permissions(onProject bool) []string {
	var names []string
	for _, p := range permissions {
		if p.onProject == onProject && (p.needed == nil || p.needed(c)) {
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
