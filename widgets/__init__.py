"""What the console is painted with: widgets on Textual's line API that repaint only changes."""

from .app import CellScreen, DeckApp
from .cells import Line, Span, clean, fit, line, width_of
from .chart import BrailleChart, Series, Threshold
from .columns import Column
from .command import Candidate, CommandBar
from .heat import HeatRow, HeatStrip
from .lanes import QueueLanes
from .linewidget import LineWidget
from .log import LogTail
from .matrix import AclMatrix
from .meter import Meter, MeterBar
from .palette import Palette, load_palette
from .plan import ConfirmPlan
from .rows import LazyRows, PagedRows
from .states import STATE_MARKS, Mark, mark_of, state_span, state_text
from .status import StatusLine
from .table import VirtualTable
from .tile import FocusTile, Tile
from .timechart import ChartGrid, Curve

__all__ = [
    "STATE_MARKS",
    "AclMatrix",
    "BrailleChart",
    "Candidate",
    "CellScreen",
    "ChartGrid",
    "Column",
    "CommandBar",
    "ConfirmPlan",
    "Curve",
    "DeckApp",
    "FocusTile",
    "HeatRow",
    "HeatStrip",
    "LazyRows",
    "Line",
    "LineWidget",
    "LogTail",
    "Mark",
    "Meter",
    "MeterBar",
    "PagedRows",
    "Palette",
    "QueueLanes",
    "Series",
    "Span",
    "StatusLine",
    "Threshold",
    "Tile",
    "VirtualTable",
    "clean",
    "fit",
    "line",
    "load_palette",
    "mark_of",
    "state_span",
    "state_text",
    "width_of",
]
