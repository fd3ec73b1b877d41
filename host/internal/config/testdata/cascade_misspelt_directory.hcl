host {
  data_dri  = "./data"
  pluginn_dir = "./plugins"
}
project "shop" { id = 1 }
destination "localfs" "out" {
  path = "./out"
}
destination "elsewhere" "out" {
  path = "./out"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = destination.elsewhere.out
  from_date   = "2020-06-01"
}
