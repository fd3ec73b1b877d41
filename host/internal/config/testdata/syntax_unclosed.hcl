project "shop" {
  id = 2195193
}
host {
  data_dir = "./data"

destination "localfs" "out" {
  path = "./out"
}
