# 1. Create the dataset, and let the credentials use it with these permissions: the server of attribute endpoint is not Google's, and has its own way.
# bigquery.jobs.create
# bigquery.datasets.get
# bigquery.tables.create
# bigquery.tables.get
# bigquery.tables.getData
# bigquery.tables.list
# bigquery.tables.update
# bigquery.tables.updateData
# bigquery.tables.delete
# storage.objects.create
# storage.objects.get
# storage.objects.list
# storage.objects.delete
# storage.buckets.get

