host {
  data_dir = "./a"
  data_dir = "./b"
  log_level = "loud"
}
