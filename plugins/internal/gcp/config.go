package gcp

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/penstock-io/penstock/sdk/schema"
)

// Attributes returns the attributes of a destination block that Credentials holds, but
// for the endpoint.
func Attributes() []schema.Attribute {
	return []schema.Attribute{
		{
			Name: "credentials", Type: schema.String, Sensitive: true,
			Description: "The content of a key file, as in file(\"key.json\"). Without it application default credentials: GOOGLE_APPLICATION_CREDENTIALS, gcloud's login, workload identity, the machine's service account.",
		},
		{Name: "impersonate", Type: schema.String, Description: "The e-mail address of a service account to act as, with the credentials above."},
	}
}

// Check calls add with each mistake in the attributes endpoint, credentials and
// impersonate. example is an endpoint of the service, for the texts.
func (c Credentials) Check(example string, add func(attribute, summary, detail string)) {
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil {
			add("endpoint", "Endpoint is not a URL", fmt.Sprintf("An endpoint is http:// or https:// with a host and no user, as in %q.", example))
		} else if u.Path != "" && u.Path != "/" {
			add("endpoint", "Endpoint has a path", fmt.Sprintf("The path of the API is added to the endpoint: give scheme, host and port alone, as in %q.", example))
		}
	}
	if c.KeyFile != "" {
		if _, err := keyFileType(c.KeyFile); err != nil {
			add("credentials", "Credentials are not a key file", err.Error()+". Give the whole content of the JSON file, as in credentials = file(\"key.json\").")
		}
	}
	if c.Impersonate != "" && !accountName.MatchString(c.Impersonate) {
		add("impersonate", "Impersonate is not a service account", fmt.Sprintf("%q: an address looks like \"export@acme.iam.gserviceaccount.com\".", c.Impersonate))
	}
}

// IsGoogle reports whether the service is Google's, and not a server of the attribute
// endpoint.
func (c Credentials) IsGoogle() bool {
	u, err := url.Parse(c.Endpoint)
	return err != nil || u.Host == "" || strings.HasSuffix(u.Hostname(), ".googleapis.com")
}
