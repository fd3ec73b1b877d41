{
  "host": {"data_dir": "./data"}
}
