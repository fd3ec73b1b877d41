host {
  max_backfill = "half a year"
}
