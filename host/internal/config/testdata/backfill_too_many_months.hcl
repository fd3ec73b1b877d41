host {
  max_backfill = "5000 months"
}
project "shop" {
  id = 1
}
