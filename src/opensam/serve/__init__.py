"""The HTTP server: a model for many clients, and the annotator for a folder of pictures.

Read `app` for what there is, `service` for what lives behind the routes, `settings` for the limits. Inference is in
`encoder`, `embeddings`, `predictions` and `generation`; a folder of pictures in `project`.
"""
