# A collector: what Mixpanel's SDKs send, into a directory, in the layout of
# Mixpanel's JSON Pipelines. run.sh starts it and sends something.

host {
  data_dir   = "./data"
  plugin_dir = "../../bin/plugins"
}

project "shop" {
  id    = 2195193
  token = "9d8f7c6b5a40"
}

source "collector" "web" {
  project = "shop"
  listen  = "127.0.0.1:0" # any port that is free: penstock status says which
}

destination "localfs" "out" {
  path = "./out"
}

pipeline "events_to_out" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  from_date   = "earliest"
}

pipeline "people_to_out" {
  project     = "shop"
  stream      = "people"
  destination = destination.localfs.out
}
