project "shop" { id = 1, token = "abc" }
