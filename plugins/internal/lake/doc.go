// Package lake is what the object stores share: the names of objects, the
// cutting of a run into parts, the manifest, and the replacement of whole
// sets. A destination adds a Store, its attributes and its checks.
//
// It never decodes a row: objects are made of the batches' bytes as they
// came. It knows no service, no file system and no clock.
//
// What it promises, over any Store that keeps its own promises:
//
//   - The objects of a run have the same names and the same bytes however
//     often the run is tried.
//   - The manifest, written with a condition, is the only thing that says
//     committed. It holds the run and the fence, so a writer whose fence is
//     older cannot commit.
//   - After a commit the target holds the run's objects and none left over
//     from its earlier attempts.
//   - A replaced set that is one object changes from old to new in one
//     instant for anyone who lists. The object holds run and fence.
//
// docs/manifest.md describes what a reader sees.
//
// # How a Store is built on a service
//
// Store asks for the same from all services, and each keeps it with what it
// has. The tests in laketest show that it does, over the process that plays the
// service.
//
//	               localfs              s3                     gcs                       azure
//	Version        inode, size, time,   ETag                   generation and            ETag
//	               CRC of the head                             metageneration
//	Create         file beside the      PutObject, or a        resumable upload          Put Blob, or Put Block with
//	  Finish       name, renamed        multipart upload       without a condition       ids of attempt and number,
//	                                                                                     Put Block List
//	WriteIf        lock, compare,       PutObject with         insert with               Put Blob with If-Match or
//	               write, rename        If-(None-)Match        ifGenerationMatch         If-None-Match: *
//	Replace        file beside the      CreateMultipartUpload  upload of an object       Put Block with ids of attempt
//	  Write        name                 UploadPart             in AsideDir               and number
//	  Seal         fsync                last UploadPart        finish that object        last Put Block
//	  Switch       lock, compare,       CompleteMultipart-     compose it over the       Put Block List with If-Match
//	               rename               Upload with            name, ifGenerationMatch   or If-None-Match: *
//	                                    If-(None-)Match        and ifMetagenerationMatch
//	Fence          lock, remove the     list uploads of the    delete AsideDir, then     Set Blob Metadata: a new ETag.
//	               name's files         name, abort each       patch the object's        Without a blob: Put Blob with
//	                                                           metadata                  If-None-Match: *, and delete it
//	EndUploads     remove files         abort uploads          none: sessions cannot     list uncommitted blobs, and
//	                                                           be listed                 discard their blocks as above
//
// Where they differ most:
//
//   - GCS has no list of resumable sessions: the session of a dead attempt
//     cannot be found, and lives for a week. So nothing that an older attempt
//     holds may suffice to switch. What is sealed is an object aside, which a
//     fence deletes, and the switch names generation and metageneration, which
//     a fence moves on.
//   - Uncommitted blocks at Azure belong to the blob's name and not to an
//     upload. Ids of attempt and number keep two attempts from mixing; who
//     commits first discards the other's blocks, whose commit then fails with
//     InvalidBlockList (ErrAborted). All ids of a blob have one length, and
//     Attempt.String has too. Put Blob of a blob that a reader may see holds an
//     empty gzip member, never zero bytes.
//   - An S3 upload is known to the list once it was created. A server may say
//     that an upload is complete which it does not have (versitygw does, when
//     there is an object of the name), so the answer's checksum is compared.
package lake
