# The quickstart: events out of files, into a directory, in the layout of
# Mixpanel's JSON Pipelines. `make demo` runs it.

host {
  data_dir   = "./data"
  plugin_dir = "../../bin/plugins"
}

project "shop" {
  id       = 2195193
  timezone = "UTC"
}

source "files" "import" {
  project = "shop"
  path    = "./events/*.ndjson*"
}

destination "localfs" "out" {
  path = "./out"
}

pipeline "events_to_out" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = "earliest"
  frequency   = "daily"
}
