package server

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/test/standin/snowflakeserver/internal/snowsql"
)

// files runs PUT, LIST and REMOVE. They are no part of the transaction
// (https://docs.snowflake.com/en/sql-reference/sql/put).
func (x *execution) files(ctx context.Context, parsed snowsql.Statement) (*result, error) {
	switch s := parsed.(type) {
	case *snowsql.Put:
		return x.put(s)
	case *snowsql.List:
		p, err := x.location(s.From, "READ")
		if err != nil {
			return nil, err
		}
		return x.listFiles(ctx, p, s.Pattern)
	case *snowsql.Remove:
		p, err := x.location(s.From, "WRITE")
		if err != nil {
			return nil, err
		}
		return x.removeFiles(ctx, p, s.Pattern)
	}
	return nil, snowsql.Unsupported("GET")
}

// location finds a place in a stage. The path is a prefix, and no folder unless it ends
// in a slash (https://docs.snowflake.com/en/sql-reference/sql/copy-into-table).
func (x *execution) location(l snowsql.Location, privilege string) (place, error) {
	bucket := x.srv.options.Storage.Bucket
	switch {
	case l.User:
		return place{scheme: "s3", bucket: bucket, root: "users/" + strings.ToLower(x.session.state().user) + "/", path: l.Path, encrypted: true}, nil
	case l.Table != "":
		t, err := x.findTable(snowsql.Name{l.Table}, "OWNERSHIP")
		if err != nil {
			return place{}, err
		}
		return place{scheme: "s3", bucket: bucket, root: "tables/" + t.physical + "/", path: l.Path, encrypted: true}, nil
	case l.URL != "":
		return place{}, snowsql.Unsupported("a location without a stage")
	}
	st, err := x.findStage(l.Stage, privilege)
	if err != nil {
		return place{}, err
	}
	if st.url == "" {
		return place{scheme: "s3", bucket: bucket, root: st.prefix, path: l.Path, shown: strings.ToLower(st.name) + "/", encrypted: !st.serverSide}, nil
	}
	if err := x.allowedBy(st.integration, st.url); err != nil {
		return place{}, err
	}
	p, err := placeOf(st.url)
	p.path, p.shown, p.external = l.Path, st.url, true
	return p, err
}

func matching(list []object, pattern string) ([]object, error) {
	if pattern == "" {
		return list, nil
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, refuse(100048, "2201B", "Invalid regular expression: '%s'", pattern)
	}
	return slices.DeleteFunc(list, func(o object) bool { return !re.MatchString(o.name) }), nil
}

func (x *execution) listFiles(ctx context.Context, p place, pattern string) (*result, error) {
	list, err := x.srv.storage.list(ctx, p)
	if err == nil {
		list, err = matching(list, pattern)
	}
	if err != nil {
		return nil, err
	}
	r := listing([]string{"name", "size", "md5", "last_modified"})
	r.columns[1].Type = integer
	for _, o := range list {
		size, modified := strconv.FormatInt(o.size, 10), o.modified.UTC().Format("Mon, 2 Jan 2006 15:04:05 GMT")
		r.rows = append(r.rows, []*string{&o.name, &size, &o.etag, &modified})
	}
	return r, nil
}

func (x *execution) removeFiles(ctx context.Context, p place, pattern string) (*result, error) {
	list, err := x.srv.storage.list(ctx, p)
	if err == nil {
		list, err = matching(list, pattern)
	}
	if err != nil {
		return nil, err
	}
	r := listing([]string{"name", "result"})
	removed := "removed"
	for _, o := range list {
		if err := x.srv.storage.remove(ctx, p, o); err != nil {
			return nil, err
		}
		r.rows = append(r.rows, []*string{&o.name, &removed})
	}
	return r, nil
}

// put answers with the place and the key; the driver encrypts and uploads, and skips
// existing files unless OVERWRITE is set.
func (x *execution) put(s *snowsql.Put) (*result, error) {
	p, err := x.location(s.To, "WRITE")
	if err != nil {
		return nil, err
	}
	if p.external {
		return nil, refuse(91003, "0A000", "Failure using stage area. Cause: [PUT and GET commands are not supported with external stage]")
	}
	transfer := map[string]any{"command": "UPLOAD", "kind": "", "operation": "Node", "autoCompress": true, "overwrite": false, "parallel": 4, "threshold": 209715200, "sourceCompression": "auto_detect", "clientShowEncryptionParameter": false, "localLocation": nil}
	for name, o := range s.Options {
		switch name {
		case "AUTO_COMPRESS", "OVERWRITE":
			key := map[string]string{"AUTO_COMPRESS": "autoCompress", "OVERWRITE": "overwrite"}[name]
			switch strings.ToUpper(o.Text) {
			case "TRUE", "FALSE":
				transfer[key] = strings.EqualFold(o.Text, "TRUE")
			default:
				return nil, refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter '%s'", o.Text, name)
			}
		case "PARALLEL":
			n, err := strconv.Atoi(o.Text)
			if err != nil || n < 1 || n > 99 {
				return nil, refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter 'PARALLEL'", o.Text)
			}
			transfer["parallel"] = n
		case "SOURCE_COMPRESSION":
			compression := strings.ToLower(o.Text)
			if !slices.Contains([]string{"auto_detect", "gzip", "bz2", "brotli", "zstd", "deflate", "raw_deflate", "none"}, compression) {
				return nil, refuse(1008, "22023", "SQL compilation error:\ninvalid value [%s] for parameter 'SOURCE_COMPRESSION'", o.Text)
			}
			transfer["sourceCompression"] = compression
		default:
			return nil, refuse(1006, "42601", "SQL compilation error:\ninvalid parameter '%s'", name)
		}
	}
	o := x.srv.options.Storage
	advertised := o.Advertised
	if advertised == "" {
		advertised = strings.TrimPrefix(o.Endpoint, "https://")
	}
	path := p.path
	if path != "" && !strings.HasSuffix(path, "/") {
		path += "/"
	}
	transfer["src_locations"] = []string{s.File}
	if p.encrypted {
		id, key := x.srv.storage.newKey()
		transfer["encryptionMaterial"] = map[string]any{"queryStageMasterKey": key, "queryId": x.query.id, "smkId": id}
	}
	transfer["stageInfo"] = map[string]any{
		"locationType": "S3", "location": p.bucket + "/" + p.root + path, "path": path, "region": "us-east-1", "endPoint": advertised, "isClientSideEncrypted": p.encrypted,
		"creds": map[string]string{"AWS_KEY_ID": o.AccessKey, "AWS_SECRET_KEY": o.SecretKey, "AWS_TOKEN": ""},
	}
	return &result{kind: typeTransfer, transfer: transfer}, nil
}
