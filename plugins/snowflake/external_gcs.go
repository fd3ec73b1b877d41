package snowflake

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/penstock-io/penstock/plugins/internal/gcsbucket"
	"github.com/penstock-io/penstock/plugins/internal/lake"
	"github.com/penstock-io/penstock/sdk"
	"github.com/penstock-io/penstock/sdk/setup"
)

// googleAttributes are the attributes of a stage at Google Cloud Storage.
type googleAttributes struct {
	Credentials string `json:"stage_credentials"`
	Impersonate string `json:"stage_impersonate"`
	KMSKey      string `json:"stage_kms_key"`
}

// google is Google Cloud Storage. The bucket's location is compared with nothing, and so
// has no attribute.
var google = cloud{
	name: "Google Cloud Storage", schemes: []string{"gcs"}, example: "gcs://acme-stage/penstock/",
	attributes: gcsbucket.Attributes("bucket", "region", "prefix", "format", "endpoint"),
	texts: renamed([]string{"kms_key"},
		"or set bucket to one", "or set stage_url to one", "folders go into prefix", "folders follow it", "attribute credentials", "attribute stage_credentials", "set credentials", "set stage_credentials",
		"in credentials = ", "in stage_credentials = ", "the value of credentials", "the value of stage_credentials", "attribute impersonate", "attribute stage_impersonate", "attribute endpoint", "attribute stage_endpoint",
		"manifests and replaced sets need", "a stage needs"),
	open: func(e external, u *url.URL) (bucket, error) {
		if u.Port() != "" {
			return nil, errors.New("a bucket has no port, as in \"gcs://acme-stage/penstock/\"; the address of another server belongs in stage_endpoint")
		}
		return googleBucket{gcsbucket.Config{
			Bucket: u.Host, Prefix: strings.Trim(u.Path, "/"), Endpoint: e.Endpoint,
			Credentials: e.Credentials, Impersonate: e.Impersonate, KMSKey: e.KMSKey,
		}}, nil
	},
}

// googleBucket is a bucket at Google Cloud Storage.
type googleBucket struct{ config gcsbucket.Config }

func (b googleBucket) check(found sdk.Diagnostics) error { return b.config.Check(found) }

func (b googleBucket) store(_ context.Context, _ sdk.Project, shared *pools) (lake.Store, error) {
	return b.config.Store(shared.google), nil
}

func (b googleBucket) root() string    { return "gcs://" + b.config.Bucket + "/" }
func (b googleBucket) folders() string { return b.config.Prefix }

func (b googleBucket) setup(r sdk.SetupRequest) ([]sdk.SetupStep, error) { return b.config.Setup(r) }

// readPermissions are those that Snowflake needs to load files
// (https://docs.snowflake.com/en/user-guide/data-load-gcs-config).
var readPermissions = []string{"storage.buckets.get", "storage.objects.get", "storage.objects.list"}

// reader gives the service account of the integration a role on the bucket. The account
// is that of Snowflake, one for all integrations of a Snowflake account.
func (b googleBucket) reader(p *preparation) reader {
	id, label := "penstock_"+p.label+"_snowflake", p.label+"_snowflake"
	member := setup.Reference(`"serviceAccount:${` + string(p.integrated("storage_gcp_service_account")) + `}"`)
	var place any = b.config.Bucket
	if b.config.IsGoogle() {
		place = setup.Reference("google_storage_bucket." + p.label + ".name")
	}
	made := reader{
		provider: "GCS",
		step: sdk.SetupStep{
			Title: "Let Snowflake read the bucket. Put the value that DESC INTEGRATION has shown in place of STORAGE_GCP_SERVICE_ACCOUNT.",
			Text: "PROJECT=$(" + setup.Line("gcloud", "config", "get-value", "project") + ")\n" +
				"gcloud iam roles create " + id + " --project=\"$PROJECT\" --title=" + setup.Word("Penstock's stage, for Snowflake") + " \\\n    --permissions=" + strings.Join(readPermissions, ",") + "\n" +
				"gcloud storage buckets add-iam-policy-binding " + setup.Word("gs://"+b.config.Bucket) + " \\\n    --member=serviceAccount:STORAGE_GCP_SERVICE_ACCOUNT --role=projects/\"$PROJECT\"/roles/" + id + "\n",
		},
		after: []string{
			setup.Resource("google_project_iam_custom_role", label, field("role_id", id), field("title", "Penstock's stage, for Snowflake"), field("permissions", readPermissions)),
			setup.Resource("google_storage_bucket_iam_member", label, field("bucket", place), field("role", setup.Reference("google_project_iam_custom_role."+label+".id")), field("member", member)),
		},
	}
	if key := b.config.KMSKey; key != "" {
		const role = "roles/cloudkms.cryptoKeyDecrypter"
		made.step.Text += "gcloud kms keys add-iam-policy-binding " + setup.Word(key) + " \\\n    --member=serviceAccount:STORAGE_GCP_SERVICE_ACCOUNT --role=" + role + "\n"
		made.after = append(made.after, setup.Resource("google_kms_crypto_key_iam_member", label, field("crypto_key_id", key), field("role", role), field("member", member)))
	}
	return made
}
