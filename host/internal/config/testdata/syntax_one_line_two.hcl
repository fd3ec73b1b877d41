host { data_dir = "./data" plugin_dir = "./bin" }
project "shop" {
  id = "x"
}
