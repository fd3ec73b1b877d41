data_dir = "./data"
project "shop" {
  id = 2195193
}
