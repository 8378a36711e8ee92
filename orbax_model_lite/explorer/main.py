"""The extension that Model Explorer imports: it finds extensions in a package's module `main`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Final

import flask
from model_explorer import Adapter, AdapterMetadata, ModelExplorerGraphs
from model_explorer.graph_builder import GraphCollection

from orbax_model_lite.explorer.bundles import bundle_graphs
from orbax_model_lite.explorer.guard import ENDED

ADAPTER_ID: Final = "orbax_model_lite"


class BundleAdapter(Adapter):
    """Shows a bundle: the folder if it is called `*.obm`, or else the `manifest.pb` inside."""

    metadata: ClassVar = AdapterMetadata(
        id=ADAPTER_ID,
        name="Orbax model bundle",
        description="Pipelines and functions of a bundle, with their StableHLO.",
        fileExts=["obm", "pb"],
    )

    def convert(self, model_path: str, settings: dict[str, Any]) -> ModelExplorerGraphs:
        """Returns the graphs of a bundle.

        Args:
          model_path: Of the folder, or of a file in it.
          settings: Of the front end; how many elements of a constant are written out is heeded.

        Raises:
          ObmError: If it is no bundle or is damaged; the front end shows the message.
        """
        path = Path(model_path)
        most_values = int(settings.get("const_element_count_limit", 16))
        is_folder = path.is_dir()
        graphs = bundle_graphs(
            path if is_folder else path.parent,
            most_values=most_values,
            # Of the guard, where there is one.
            ended=flask.g.get(ENDED) if flask.has_app_context() else None,
        )
        # The front end writes the name of the file, and the label behind it.
        label = "" if is_folder else path.parent.name
        found = GraphCollection(label=label, graphs=graphs, graphSorting="name_desc")
        return {"graphCollections": [found]}
