package bigquery

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/gcp"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/schema"
	"github.com/penstock-io/penstock/sdk/unusual"
)

// config is a destination block's body.
type config struct {
	Project         string   `json:"gcp_project"`
	Dataset         string   `json:"dataset"`
	Region          string   `json:"region"`
	CreateDataset   bool     `json:"create_dataset"`
	Endpoint        string   `json:"endpoint"`
	Credentials     string   `json:"credentials"`
	Impersonate     string   `json:"impersonate"`
	KeepGenerations int      `json:"keep_generations"`
	Unusual         string   `json:"unusual"`
	Views           []string `json:"views"`
	MaximumBilled   int64    `json:"maximum_bytes_billed"`
	Mode            string   `json:"mode"`
	StagingBucket   string   `json:"staging_bucket"`
	StagingEndpoint string   `json:"staging_endpoint"`
}

func attributes() schema.Schema {
	text := func(name, description string) schema.Attribute {
		return schema.Attribute{Name: name, Type: schema.String, Description: description}
	}
	return schema.Schema{Attributes: slices.Concat([]schema.Attribute{
		{Name: "gcp_project", Type: schema.String, Required: true, Description: "The Google Cloud project that holds the dataset and runs the jobs."},
		{Name: "dataset", Type: schema.String, Required: true, Description: "The dataset to write to. It holds the tables of one Mixpanel project."},
		text("region", "The dataset's location, as in \"EU\" or \"europe-west3\"; check compares it. Without it any location."),
		{Name: "create_dataset", Type: schema.Bool, Default: false, Description: "Create the dataset, in region, if it does not exist."},
		text("endpoint", "The URL of another server that speaks BigQuery's REST API. Without it Google's."),
	}, gcp.Attributes(), []schema.Attribute{
		{Name: "mode", Type: schema.String, Default: modeTransaction, Description: "transaction: a run of events becomes visible in one transaction. load: its days are loaded one by one, which is cheaper and weaker."},
		text("staging_bucket", "A bucket of Cloud Storage in the dataset's location, through which rows are loaded. Without it they are uploaded to BigQuery itself."),
		text("staging_endpoint", "The URL of another server that speaks Cloud Storage's JSON API. Without it Google's."),
		{Name: "keep_generations", Type: schema.Integer, Default: 2, Description: "How many earlier tables of people and of identity are kept when their view is switched."},
		unusual.Attribute(),
		{Name: "views", Type: schema.ListOfString, Description: "Views for queries to create next to the tables: resolved is mp_master_event_resolved."},
		{Name: "maximum_bytes_billed", Type: schema.Size, Description: "The largest number of bytes that one script may be billed for; a run that needs more fails and costs nothing."},
	})}
}

// resolvedView is the value of views that creates mp_master_event_resolved.
const resolvedView = "resolved"

var (
	projectName = regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z][a-z0-9-]{2,61}[a-z0-9]$`)
	datasetName = regexp.MustCompile(`^[A-Za-z0-9_]{1,1000}$`)
	regionName  = regexp.MustCompile(`^[a-zA-Z]+(-[a-zA-Z0-9]+)*$`)
)

// check adds the mistakes that the schema cannot find.
func (c config) check(found sdk.Diagnostics) error {
	add := func(attribute, summary, detail string) {
		found = append(found, sdk.Diagnostic{Severity: sdk.SeverityError, Attribute: attribute, Summary: summary, Detail: detail})
	}
	if !projectName.MatchString(c.Project) {
		add("gcp_project", "Project is not a project's id", fmt.Sprintf("%q: an id has lower-case letters, digits and hyphens, as in \"acme-analytics\"; it is neither the project's name nor its number.", c.Project))
	}
	if !datasetName.MatchString(c.Dataset) {
		add("dataset", "Dataset is not a dataset's name", fmt.Sprintf("%q: a name has letters, digits and underscores, as in \"mixpanel\"; the project goes into gcp_project.", c.Dataset))
	}
	if c.Region != "" && !regionName.MatchString(c.Region) {
		add("region", "Region is not a location's name", fmt.Sprintf("%q: a name looks like \"EU\" or \"europe-west3\".", c.Region))
	}
	if c.CreateDataset && c.Region == "" {
		add("region", "Region is missing", "A dataset cannot be moved: with create_dataset, region must name its location, as in \"EU\".")
	}
	c.account().Check("http://127.0.0.1:9050", add)
	if c.Mode != "" && c.Mode != modeTransaction && c.Mode != modeLoad {
		add("mode", "Mode is not known", fmt.Sprintf("%q: a mode is \"transaction\" or \"load\".", c.Mode))
	}
	if c.StagingBucket != "" && !gcp.BucketName.MatchString(c.StagingBucket) {
		add("staging_bucket", "Staging bucket is not a bucket's name", fmt.Sprintf("%q: a name has lower-case letters, digits, hyphens, dots and underscores, as in \"acme-staging\", without gs:// and without a path.", c.StagingBucket))
	}
	if c.StagingEndpoint != "" {
		c.stagingAccount().Check("http://127.0.0.1:4443", func(attribute, summary, detail string) {
			if attribute == "endpoint" {
				add("staging_endpoint", summary, detail)
			}
		})
		if c.StagingBucket == "" {
			add("staging_endpoint", "Staging bucket is missing", "The endpoint is that of the staging bucket: set staging_bucket.")
		}
	}
	if c.KeepGenerations < 0 || c.KeepGenerations > 100 {
		add("keep_generations", "Number of generations is out of range", fmt.Sprintf("%d: from 0 to 100 earlier tables can be kept.", c.KeepGenerations))
	}
	for _, v := range c.Views {
		if v != resolvedView {
			add("views", "View is not known", fmt.Sprintf("%q: the view that can be created is \"resolved\".", v))
		}
	}
	if c.MaximumBilled < 0 {
		add("maximum_bytes_billed", "Limit is negative", "A limit is a size, as in \"10GiB\".")
	}
	if len(found) == 0 {
		return nil
	}
	return found
}

// endpoint is the base of the API.
func (c config) endpoint() string {
	if c.Endpoint == "" {
		return ""
	}
	return strings.TrimSuffix(c.Endpoint, "/") + "/bigquery/v2/"
}

func (c config) wantsResolved() bool { return slices.Contains(c.Views, resolvedView) }

func (c config) account() gcp.Credentials {
	return gcp.Credentials{
		KeyFile: c.Credentials, Impersonate: c.Impersonate, Endpoint: c.Endpoint,
		Scopes: []string{"https://www.googleapis.com/auth/bigquery"},
	}
}

// rules are those of the JSON type: integers of 64 bits with or without sign, other
// numbers if a double keeps them, 500 levels. U+0000 is kept.
func (c config) rules() (unusual.Rules, error) {
	mode, err := unusual.ParseMode(c.Unusual)
	return unusual.Rules{Mode: mode, KeepsNumber: keepsNumber, MaxDepth: 500}, err
}
