host:
  data_dir: ./data
  memory: 64MiB
