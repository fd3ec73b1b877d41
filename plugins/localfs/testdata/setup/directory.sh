# 1. Create the directory, as root. The user that runs penstock owns it; penstock here, or the value of PENSTOCK_USER.
mkdir -p -- '/srv/a b/it'\''s $(id)'
chown -- "${PENSTOCK_USER:-penstock}" '/srv/a b/it'\''s $(id)'
chmod 0700 -- '/srv/a b/it'\''s $(id)'

