// Package lake holds the parts that all object stores share: the names of
// objects, the cutting of a run into parts, the manifest, and the replacement of
// whole sets. A destination adds a Store, its attributes and its checks.
//
// The package never decodes a row: objects are made of the batches' bytes
// unchanged. It depends on no service, no file system and no clock.
//
// Its guarantees, over any Store that keeps its contract:
//
//   - The objects of a run have the same names and the same bytes in every
//     attempt.
//   - The manifest, written with a condition, is the only record of a commit. It
//     holds the run and the fence, so a writer with an older fence cannot commit.
//   - After a commit the target holds the run's objects, and no objects of its
//     earlier attempts.
//   - A replaced set that is stored as one object changes from old to new
//     atomically for all readers. The object holds run and fence.
//
// docs/manifest.md describes the layout for readers.
//
// # How a Store is built on a service
//
// The contract of Store is the same for all services; each implements it with
// the calls that it has. The tests in laketest verify the contract over the
// process that stands in for the service.
//
//	               localfs              s3                     gcs                       azure
//	Version        inode, size, time,   ETag                   generation and            ETag
//	               CRC of the head                             metageneration
//	Create         file next to the     PutObject, or a        resumable upload          Put Blob, or Put Block with
//	  Finish       name, renamed        multipart upload       without a condition       ids of attempt and number,
//	                                                                                     Put Block List
//	Stat           size                   HeadObject with the    object's attributes,      Get Blob Properties, without
//	  Sums         none                   checksum: CRC32        crc32c                    a checksum: MD5 is the writer's
//	ReadRange      compare, read at       GetObject with Range   range of a generation     Download Blob with Range and
//	                                      and If-Match                                     If-Match
//	WriteIf        lock, compare,       PutObject with         insert with               Put Blob with If-Match or
//	               write, rename        If-(None-)Match        ifGenerationMatch         If-None-Match: *
//	Replace        file next to the     CreateMultipartUpload  upload of an object       Put Block with ids of attempt
//	  Write        name                 UploadPart             in AsideDir               and number
//	  Seal         fsync                last UploadPart        finish that object        last Put Block
//	  Switch       lock, compare,       CompleteMultipart-     compose it over the       Put Block List with If-Match
//	               rename               Upload with            name, ifGenerationMatch   or If-None-Match: *
//	                                    If-(None-)Match        and ifMetagenerationMatch
//	Fence          lock, remove the     list uploads of the    delete AsideDir, then     Set Blob Properties: a new ETag;
//	               name's files         name, abort each       patch the object's        with blocks, Put Block List of
//	                                                           metadata                  the blob's own. Without a blob:
//	                                                                                     of a placeholder, and delete it
//	EndUploads     remove files         abort uploads          none: sessions cannot     none: only a list of all blobs
//	                                                           be listed                 shows the uncommitted ones
//
// The largest differences:
//
//   - GCS cannot list resumable sessions: the session of a dead attempt cannot be
//     found, and lives for a week. An older attempt must therefore not be able to
//     switch with the session alone. A sealed replacement is an object in
//     AsideDir, which a fence deletes, and the switch is conditional on generation
//     and metageneration, which a fence changes.
//   - Uncommitted blocks at Azure belong to the blob's name, not to an upload.
//     Block ids made of attempt and number keep two attempts apart. The first
//     commit discards the blocks of the other attempt, whose commit then fails
//     with InvalidBlockList (ErrAborted). All block ids of a blob must have the
//     same length; Attempt.String has. A placeholder that readers may see holds
//     an object without rows in the set's format, never zero bytes. Abort leaves the blocks to the next
//     commit or fence of the name, or to the service, which drops them after a
//     week: discarding them could discard those of a newer attempt.
//   - S3 lists an upload as soon as it is created. A server may report success
//     for the completion of an upload that it does not have (versitygw does if
//     an object of the name exists), so the checksum in the answer is compared.
package lake
