project "shop" {
  idd = 1
}
destination "localfs" "out" {
  pth = "./out"
}
pipeline "events_out" {
  project     = "shop"
  stream      = "events"
  destination = destination.localfs.out
  form_date   = "2026-06-01"
}
