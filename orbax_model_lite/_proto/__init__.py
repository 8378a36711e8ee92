"""Generated protobuf code of the bundle's records; made by `make protos`, never edited.

The sources are in `protos/` and say what each field means. Only `core`, `orchestration` and the
rooms that decode a record of their own import these modules; nothing here is public.
"""
