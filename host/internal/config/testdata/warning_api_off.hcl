host {
  api {
    token = "written-out-here"
  }
}
