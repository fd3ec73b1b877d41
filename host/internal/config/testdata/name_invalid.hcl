project "My-Shop" {
  id = 1
}
project "" {
  id = 2
}
project {
  id = 3
}
source "files" {
}
