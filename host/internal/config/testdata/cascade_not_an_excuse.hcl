# The wrong label of one destination excuses no other name.
project "shop" {
  id = 1
}
destination "localf" "out" {
  path = "./out"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = destination.s3.lake
  from_date   = "2026-06-01"
}
