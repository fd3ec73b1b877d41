# 1. Create the bucket, and let the credentials use it with these permissions: the server of attribute endpoint is not Google's, and has its own way.
# storage.objects.create
# storage.objects.delete
# storage.objects.get
# storage.objects.list
# storage.objects.update

