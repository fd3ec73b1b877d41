host {
  api = {}
  data_dir {
  }
}
