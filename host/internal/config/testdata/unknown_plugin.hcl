destination "s4" "lake" {
  bucket = local.none
}
destination "snowflake" "w" {
}
