package config

import (
	"time"

	"github.com/penstock-io/penstock/sdk/schema"
)

// attribute describes an attribute of a block. A plugin describes its own with
// schema.Attribute; the other fields are for the host's blocks.
type attribute struct {
	schema.Attribute
	form    form     // of a string
	least   int64    // of an integer, a size or a duration
	address bool     // a Path may also be the address of a bucket
	pattern bool     // a Path is a pattern: the directory of the configuration is escaped
	late    bool     // only a serving host needs the value; secrets are late, too
	offered []string // of Allowed, the values that this version supports; nil: all
}

// blockType describes a block.
type blockType struct {
	late       bool // of all attributes
	name       string
	labels     []string // as messages about missing labels show them: "TYPE", "NAME"
	attributes []attribute
	blocks     []*blockType // inside
}

func text(name string) attribute { return typed(name, schema.String) }

func typed(name string, t schema.Type) attribute {
	return attribute{Attribute: schema.Attribute{Name: name, Type: t}}
}

func (a attribute) required(description string) attribute {
	a.Required, a.Description = true, description
	return a
}

func (a attribute) or(value any) attribute {
	a.Default = value
	return a
}

func (a attribute) secret() attribute {
	a.Sensitive = true
	return a
}

func (a attribute) of(f form) attribute {
	a.form = f
	return a
}

func (a attribute) atLeast(n int64) attribute {
	a.least = n
	return a
}

func (a attribute) among(values ...string) attribute {
	a.Allowed = values
	return a
}

func (a attribute) asPattern() attribute {
	a.pattern = true
	return a
}

func (a attribute) orAddress() attribute {
	a.address = true
	return a
}

func (a attribute) forServing() attribute {
	a.late = true
	return a
}

// needed reports whether a command in the data directory needs an attribute.
func (b *blockType) needed(a attribute) bool { return !b.late && !a.late && !a.Sensitive }

var nameLabel, typeLabel = `"NAME"`, `"TYPE"`

var apiBlock = &blockType{name: "api", late: true, attributes: []attribute{
	text("listen").of(addressForm),
	text("token").secret().of(tokenForm),
	typed("tls_cert", schema.Path).of(notEmpty),
	typed("tls_key", schema.Path).of(notEmpty),
}}

var hostBlock = &blockType{name: "host", blocks: []*blockType{apiBlock}, attributes: []attribute{
	typed("data_dir", schema.Path).of(notEmpty).or("/var/lib/penstock"),
	typed("plugin_dir", schema.Path).of(notEmpty).or("/usr/libexec/penstock/plugins"),
	text("plugin_user").of(notEmpty),
	typed("blobs", schema.Path).orAddress().of(pathForm),
	text("catalog").of(urlForm("postgres", "postgresql")).secret(),
	typed("memory", schema.Size).or("64MiB").atLeast(4 << 20),
	text("max_backfill").of(backfillForm).or("6 months"),
	typed("retention", schema.Duration).or("200d").atLeast(int64(24 * time.Hour)),
	text("log_level").among("debug", "info", "warn", "error").or("info"),
	text("log_format").among("text", "json").or("text"),
}}

var projectBlock = &blockType{name: "project", labels: []string{nameLabel}, attributes: []attribute{
	typed("id", schema.Integer).atLeast(1).required("the project's number, which names the directories at destinations"),
	text("token").of(notEmpty).forServing(),
	text("timezone").of(zoneForm).or("UTC"),
	text("identity").among("simplified", "original", "legacy").or("simplified"),
	text("profiles_from").among("collector", "mixpanel").or("collector"),
}}

var filesBlock = &blockType{name: "files", labels: []string{typeLabel, nameLabel}, attributes: []attribute{
	text("project").required("the name of the project that the records belong to"),
	typed("path", schema.Path).orAddress().asPattern().of(globForm).required(`the files to read, such as "./events/*.ndjson.gz"`).forServing(),
	text("records").among("events", "people").or("events"),
	text("data_timezone").among("utc", "project").or("utc"),
	typed("follow", schema.Bool).or(false),
}}

var accountAttributes = []attribute{
	text("username").of(notEmpty).required("the service account's user name"),
	text("secret").secret().of(notEmpty).required("the service account's secret"),
}

var collectorBlock = &blockType{name: "collector", labels: []string{typeLabel, nameLabel}, attributes: []attribute{
	text("project"),
	typed("projects", schema.ListOfString),
	text("listen").of(addressForm).required(`the address to listen on, such as "127.0.0.1:8080"`),
	typed("tls_cert", schema.Path).of(notEmpty),
	typed("tls_key", schema.Path).of(notEmpty),
	typed("insecure", schema.Bool).or(false),
	text("api_secret").secret().of(notEmpty),
	typed("cors_origins", schema.ListOfString).of(urlForm("http", "https")),
	typed("redirect_origins", schema.ListOfString).of(urlForm("http", "https")),
	typed("geoip", schema.Path).of(notEmpty),
	typed("max_body", schema.Size).or("10MB").atLeast(1),
}, blocks: []*blockType{{name: "service_account", labels: []string{nameLabel}, attributes: accountAttributes}}}

var mixpanelBlock = &blockType{name: "mixpanel", labels: []string{typeLabel, nameLabel}, attributes: []attribute{
	text("project").required("the name of the project to pull"),
	text("region").among("us", "eu", "in").or("us"),
	text("endpoint").of(serverForm),
	text("api_secret").secret().of(notEmpty),
	text("from_date").of(dateForm),
	typed("lookback", schema.Duration).or("10d"),
	typed("people", schema.Bool).or(true),
	text("data_timezone").among("utc", "project").or("utc"),
}, blocks: []*blockType{
	{name: "service_account", late: true, attributes: accountAttributes},
	{name: "export_limit", attributes: []attribute{
		typed("per_hour", schema.Integer).atLeast(1).or(60),
		typed("per_second", schema.Integer).atLeast(1).or(3),
		typed("concurrent", schema.Integer).atLeast(1).or(100),
	}},
	{name: "profile_limit", attributes: []attribute{
		typed("per_hour", schema.Integer).atLeast(1).or(60),
		typed("concurrent", schema.Integer).atLeast(1).or(5),
	}},
}}

// sourceBlocks are the source types. That of kafka has no attributes yet: its
// body is not read.
var sourceBlocks = map[string]*blockType{
	"files": filesBlock, "collector": collectorBlock, "mixpanel": mixpanelBlock, "kafka": nil,
}

var pipelineBlock = &blockType{name: "pipeline", labels: []string{nameLabel}, attributes: []attribute{
	text("project").required("the name of the project to export"),
	text("stream").among("events", "people", "identity").required(`"events", "people" or "identity"`),
	text("destination").required("such as destination.s3.lake"),
	text("from_date").of(fromForm),
	text("to_date").of(dateForm),
	text("frequency").among("daily", "hourly", "continuous").or("daily"),
	typed("min_interval", schema.Duration),
	text("at").of(clockForm),
	typed("sync", schema.Bool).or(true),
	typed("paused", schema.Bool).or(false),
	text("backfill_order").among("oldest", "newest").or("oldest"),
	typed("rate_limit", schema.Size).atLeast(1),
	typed("max_run", schema.Size).or("1GiB").atLeast(1 << 20),
	typed("adopt", schema.Bool).or(false),
	typed("allow_shrink", schema.Bool).or(false),
}}

// blockTypes are the blocks that a configuration may hold.
var blockTypes = []string{"host", "project", "source", "destination", "pipeline", "locals"}
