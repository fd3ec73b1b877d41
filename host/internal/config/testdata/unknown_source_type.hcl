project "shop" {
  id = 2195193
}
source "file" "a" {
}
source "syslog" "b" {
}
