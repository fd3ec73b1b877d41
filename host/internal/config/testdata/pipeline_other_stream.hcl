project "shop" { id = 1 }
destination "localfs" "out" {
  path = "./out"
}
pipeline "daily" {
  project      = "shop"
  stream       = "events"
  destination  = destination.localfs.out
  from_date    = "2026-06-01"
  allow_shrink = true
}
pipeline "people" {
  project        = "shop"
  stream         = "people"
  destination    = destination.localfs.out
  from_date      = "2026-06-01"
  to_date        = "2026-06-02"
  backfill_order = "newest"
  allow_shrink   = true
}
pipeline "people_again" {
  project     = "shop"
  stream      = "people"
  destination = destination.localfs.out
}
