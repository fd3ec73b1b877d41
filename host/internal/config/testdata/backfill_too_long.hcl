host {
  max_backfill = "40000d"
}
project "shop" {
  id = 1
}
